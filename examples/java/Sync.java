import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Lists a company's employees, pages through its export items and uploads a
 * receipt. Needs nothing but a JDK, 17 or later. An application would read JSON
 * with a library; a few lines do here.
 *
 * <pre>java Sync.java receipt.pdf</pre>
 */
public class Sync {
    private static final String API = System.getenv().getOrDefault("PLEO_API", "https://external.pleo.io");
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    public static void main(String[] args) throws IOException, InterruptedException {
        each("/v2/employees", item -> System.out.println(text(item, "firstName") + " " + text(item, "lastName")));

        int[] count = {0};
        each("/v3/export-items", item -> count[0]++);
        System.out.println("export items: " + count[0]);

        String receipt = call(HttpRequest.newBuilder(URI.create(API + "/v1/receipts"))
                .header("Content-Type", "application/pdf")
                .POST(BodyPublishers.ofFile(Path.of(args[0]))));
        System.out.println("receipt: " + text(receipt, "id"));
    }

    private static String call(HttpRequest.Builder request) throws IOException, InterruptedException {
        var answer = CLIENT.send(request.build(), BodyHandlers.ofString());
        if (answer.statusCode() / 100 != 2) {
            throw new IOException(answer.statusCode() + " " + answer.body());
        }
        return answer.body();
    }

    /** Takes the items of every page. */
    private static void each(String path, Consumer<String> item) throws IOException, InterruptedException {
        for (String after = ""; ; ) {
            String page = call(HttpRequest.newBuilder(URI.create(API + path + "?limit=100" + after)));
            data(page).forEach(item);
            if (!page.matches("(?s).*\"hasNextPage\"\\s*:\\s*true.*")) {
                return;
            }
            after = "&after=" + text(page, "endCursor");
        }
    }

    /** The objects in the array "data". */
    private static List<String> data(String json) {
        var objects = new ArrayList<String>();
        int depth = 0, from = 0;
        boolean quoted = false;
        for (int i = json.indexOf('[', json.indexOf("\"data\"")) + 1; i < json.length(); i++) {
            char c = json.charAt(i);
            if (quoted) {
                quoted = c != '"';
                i += c == '\\' ? 1 : 0;
            } else if (c == '"') {
                quoted = true;
            } else if (c == '{' && depth++ == 0) {
                from = i;
            } else if (c == '}' && --depth == 0) {
                objects.add(json.substring(from, i + 1));
            } else if (c == ']' && depth == 0) {
                break;
            }
        }
        return objects;
    }

    private static String text(String json, String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"([^\"]*)\"").matcher(json);
        return found.find() ? found.group(1) : "";
    }
}
