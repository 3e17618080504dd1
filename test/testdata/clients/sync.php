<?php

// The examples' task with PHP's curl, which offers HTTP/2 if it is asked to.

$api = getenv('PLEO_API');

function call(string $path, array $options = []): array
{
    global $api;
    $curl = curl_init($api . $path);
    curl_setopt_array($curl, $options + [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_2_0,
    ]);
    $answer = curl_exec($curl);
    $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    if ($answer === false || intdiv($status, 100) !== 2) {
        fwrite(STDERR, "$status " . ($answer ?: curl_error($curl)) . "\n");
        exit(1);
    }
    return json_decode($answer, true, 512, JSON_THROW_ON_ERROR);
}

function items(string $path): Generator
{
    $query = ['limit' => 100];
    do {
        $page = call($path . '?' . http_build_query($query));
        yield from $page['data'];
        $query['after'] = $page['pagination']['endCursor'];
    } while ($page['pagination']['hasNextPage']);
}

foreach (items('/v2/employees') as $employee) {
    echo $employee['firstName'], ' ', $employee['lastName'], "\n";
}
$count = 0;
foreach (items('/v3/export-items') as $_) {
    $count++;
}
echo "export items: $count\n";
$receipt = call('/v1/receipts', [
    CURLOPT_POSTFIELDS => file_get_contents($argv[1]),
    CURLOPT_HTTPHEADER => ['Content-Type: application/pdf'],
]);
echo 'receipt: ', $receipt['data']['id'], "\n";
