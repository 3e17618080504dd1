package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// instruction is one of a Dockerfile's.
type instruction struct {
	name, stage string
	flags, args []string
}

func dockerfile(t *testing.T) (all []instruction) {
	t.Helper()
	file, err := os.Open("../Dockerfile")
	require.NoError(t, err)
	defer file.Close()
	parsed, err := parser.Parse(file)
	require.NoError(t, err)
	require.Empty(t, parsed.Warnings)
	stage := ""
	for _, node := range parsed.AST.Children {
		i := instruction{name: strings.ToUpper(node.Value), flags: node.Flags}
		for n := node.Next; n != nil; n = n.Next {
			i.args = append(i.args, n.Value)
		}
		if i.name == "FROM" {
			require.Len(t, i.args, 3, "a stage without a name")
			stage = i.args[2]
		}
		i.stage = stage
		all = append(all, i)
	}
	return all
}

// of returns the arguments of a stage's instructions.
func of(all []instruction, stage, name string) (found [][]string) {
	for _, i := range all {
		if i.stage == stage && i.name == name {
			found = append(found, i.args)
		}
	}
	return found
}

func TestTheImageHasNothingButTheProgramAndRunsAsNobody(t *testing.T) {
	all := dockerfile(t)
	for _, stage := range []string{"proxy", "emulator"} {
		require.Equal(t, "scratch", of(all, stage, "FROM")[0][0])
		require.Empty(t, of(all, stage, "RUN"), "there is no shell")
		require.Equal(t, [][]string{{"65532:65532"}}, of(all, stage, "USER"))
		require.NotEmpty(t, of(all, stage, "LABEL"))
	}
	require.NotEmpty(t, of(all, "proxy", "HEALTHCHECK"))
	require.Equal(t, "proxy", all[len(all)-1].stage, "the stage that is built unless another one is asked for")
}

func TestTheBuildersVersionIsPinnedAndSuffices(t *testing.T) {
	image := of(dockerfile(t), "build", "FROM")[0][0]
	found := regexp.MustCompile(`^golang:(\d+\.\d+\.\d+)-bookworm$`).FindStringSubmatch(image)
	require.NotNil(t, found, image)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	wanted := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	require.True(t, strings.HasPrefix(found[1], string(wanted[1])+"."), "%s for go %s", found[1], wanted[1])
}

// Each package that the programs are made of is copied into the build, and
// whatever is copied is there.
func TestTheBuildGetsWhatItNeeds(t *testing.T) {
	copied := map[string]bool{}
	for _, args := range of(dockerfile(t), "build", "COPY") {
		for _, source := range args[:len(args)-1] {
			_, err := os.Stat(filepath.Join(root, source))
			require.NoError(t, err)
			copied[source] = true
		}
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	require.NoError(t, err)
	for pattern := range strings.FieldsSeq(string(ignored)) {
		require.False(t, copied[pattern], "%s is ignored", pattern)
	}
	const module = "github.com/pleo-auth-proxy/pleo-auth-proxy/"
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/...")
	list.Dir = root
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	require.NoError(t, err)
	ours := 0
	for name := range strings.FieldsSeq(string(out)) {
		if path, ok := strings.CutPrefix(name, module); ok {
			ours++
			first, second, _ := strings.Cut(path, "/")
			require.True(t, copied[first] || copied[first+"/"+second], "%s is not copied", path)
		}
	}
	require.NotZero(t, ours)
}

// What the last stages copy is what the build has made, or the base has.
func TestTheImagesFilesAreThoseThatWereBuilt(t *testing.T) {
	all := dockerfile(t)
	var built string
	for _, args := range of(all, "build", "RUN") {
		built += args[0] + "\n"
	}
	require.Contains(t, built, "CGO_ENABLED=0")
	require.Contains(t, built, "-o /out/ ./cmd/...")
	require.Contains(t, built, "mkdir /out/data")
	for _, i := range all {
		if i.name != "COPY" || i.stage == "build" {
			continue
		}
		require.Contains(t, i.flags, "--from=build")
		switch source := i.args[0]; source {
		case "/etc/ssl/certs/ca-certificates.crt", "/out/data":
		default:
			require.DirExists(t, filepath.Join(root, "cmd", strings.TrimPrefix(source, "/out/")))
		}
	}
}
