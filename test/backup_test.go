package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// inOperations returns the commands of docs/operations.md below a comment.
func inOperations(t *testing.T, comment string) string {
	t.Helper()
	content, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	found := submatch(t, regexp.MustCompile("(?ms)^( *)<!-- "+regexp.QuoteMeta(comment)+" -->\n *```sh\n(.*?)^ *```$"), string(content))
	return strings.ReplaceAll("\n"+found[2], "\n"+found[1], "\n")
}

// commandNamed puts a command into a folder for programs.
func commandNamed(t *testing.T, folder, name, script string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(folder, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script), 0o700))
}

// endProcess ends the process of a file and waits until it is gone.
const endProcess = "pid=$(cat %s)\nkill -TERM $pid\nwhile kill -0 $pid 2>/dev/null; do sleep 0.02; done\n"

// operator is a shell with what an operator of the cluster has.
func (c *cluster) operator(t *testing.T, workingDirectory, commands string) *process {
	t.Helper()
	bin := filepath.Join(c.dir, "bin")
	commandNamed(t, bin, "kubectl", `
case "$1" in
exec)
	until test "$1" = --; do shift; done
	shift
	exec "$@"
	;;
delete)
`+fmt.Sprintf(endProcess, filepath.Join(c.dir, "redis.pid"))+`
	;;
*) exit 1 ;;
esac
`)
	env := append(c.environment("example-application"), "PATH="+bin+":"+filepath.Dir(proxyBinary)+":"+os.Getenv("PATH"))
	commands = strings.ReplaceAll(c.replace.Replace(commands), "admin.sock", "example-application")
	return startProcess(t, env, "sh", "-ec", "cd "+workingDirectory+"\n"+commands)
}

// requireDone waits for the commands' end, and returns what they printed.
func (p *process) requireDone(t *testing.T) string {
	t.Helper()
	p.awaitExit(t)
	require.NoError(t, p.err, p.stdout.tail()+p.stderr.tail())
	return p.stdout.String()
}

// restore has the operator restore the backup in a folder. The StatefulSet starts
// Redis again once it has ended.
func (c *cluster) restore(t *testing.T, redis *process, folder string) *process {
	t.Helper()
	c.file(t, "redis.pid", fmt.Sprint(redis.cmd.Process.Pid))
	commands := c.operator(t, folder, inOperations(t, "restore: kubernetes"))
	redis.awaitExit(t)
	redis = c.startRedis(t)
	commands.requireDone(t)
	return redis
}

func TestTheDocumentedCommandsBackTheDeliveredRedisUpWhileItRunsAndBringEveryConnectionBack(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	c := newCluster(t, e)
	redis := c.startRedis(t)
	proxies := c.startPods(t)
	connections := c.connect(t, e, nil)
	c.requireAll(t, connections)

	yesterday, today := t.TempDir(), t.TempDir()
	c.operator(t, yesterday, inOperations(t, "backup: kubernetes")).requireDone(t)
	for _, name := range connections {
		code, out := runProgram(t, c.adminOf("example-application"), nil, proxyBinary, "pleo", "refresh", name)
		require.Zero(t, code, out)
	}
	c.operator(t, today, inOperations(t, "backup: kubernetes")).requireDone(t)

	// Proxies that run put back what they hold: every refresh token in the backup
	// has been spent, and none is sent again.
	redis = c.restore(t, redis, yesterday)
	c.requireAll(t, connections)
	require.DirExists(t, filepath.Join(c.dir, "data", "replaced"))

	// And a fresh volume, with no proxy left that knows anything.
	proxies.stop(t)
	redis.stop(t, syscall.SIGKILL)
	require.NoError(t, os.RemoveAll(filepath.Join(c.dir, "data")))
	require.NoError(t, os.Mkdir(filepath.Join(c.dir, "data"), 0o700))
	redis = c.startRedis(t)
	proxies = c.startPods(t)
	c.restore(t, redis, today)
	require.Equal(t, "8\n", c.operator(t, today, inOperations(t, "count: kubernetes")).requireDone(t))
	c.requireAll(t, connections)
	proxies.stop(t)
}

func TestABackupThatWasCutShortIsNotTaken(t *testing.T) {
	t.Parallel()
	c := newCluster(t, startPleo(t))
	redis := c.startRedis(t)
	folder := t.TempDir()
	c.operator(t, folder, inOperations(t, "backup: kubernetes")).requireDone(t)
	archive := filepath.Join(folder, "pleo-redis.tar.gz")
	whole, err := os.ReadFile(archive)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(archive, whole[:len(whole)-20], 0o600))

	commands := c.operator(t, folder, inOperations(t, "restore: kubernetes"))
	commands.awaitExit(t)
	require.Error(t, commands.err)
	require.True(t, redis.running(), "it ends before anything has happened to Redis")
	require.NoDirExists(t, filepath.Join(c.dir, "data", "restore"))
}

// operator is a shell on the machine of the Redis, as root.
func (r *ownRedis) operator(t *testing.T, commands string) *process {
	t.Helper()
	bin := filepath.Join(r.dir, "bin")
	commandNamed(t, bin, "chown", "exit 0")
	commandNamed(t, bin, "systemctl", `
case "$1" in
stop)
`+fmt.Sprintf(endProcess, filepath.Join(r.dir, "redis.pid"))+`
	;;
start) touch `+filepath.Join(r.dir, "started")+` ;;
esac
`)
	for _, script := range []string{"backup.sh", "restore.sh", "swap.sh"} {
		content, err := os.ReadFile("../deploy/kubernetes/redis/config/" + script)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, script), content, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "redis.pid"), fmt.Append(nil, r.cmd.Process.Pid), 0o600))
	env := append(r.env, "PATH="+bin+":"+os.Getenv("PATH"))
	return startProcess(t, env, "sh", "-ec", "cd "+r.dir+"\n"+strings.ReplaceAll(commands, "/var/lib/redis", r.dir))
}

func (r *ownRedis) restore(t *testing.T, users string) {
	t.Helper()
	r.operator(t, inOperations(t, "restore: machine")).requireDone(t)
	require.FileExists(t, filepath.Join(r.dir, "started"))
	r.startWith(t, users)
}

func TestABackupBringsBackTheConnectionsThatWereNotRefreshedSinceAndNoOthers(t *testing.T) {
	t.Parallel()
	redis := newOwnRedis(t)
	redis.startWith(t, documentedUsers(t))
	e := startPleo(t)
	p := startProxy(t, e, config{store: "redis " + redis.url()})
	e.connectEight(t, p)
	redis.operator(t, inOperations(t, "backup: machine")).requireDone(t)
	for i := range 4 {
		require.Zero(t, p.command(t, "refresh", fmt.Sprintf("customer-%d", i)).code)
	}
	require.Zero(t, p.command(t, "disconnect", "customer-7").code)
	e.authorise(t, p, "later", company(0))

	p.stop(t, syscall.SIGTERM)
	redis.restore(t, documentedUsers(t))
	p.restart(t)
	var list listed
	p.json(t, &list, "connections", "--state", string(pleoauth.StateConnected))
	require.Len(t, list.Connections, 8, "so it seems until the tokens are used, also of the one that was disconnected")
	requireProblem(t, get(t, p.URL+"/v2/employees", on("later")), http.StatusUnauthorized, "not-connected")
	for i := range 8 {
		name, want := fmt.Sprintf("customer-%d", i), http.StatusOK
		if i < 4 {
			want = http.StatusUnauthorized
		}
		require.Eventually(t, func() bool {
			return send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(name))).status == want
		}, startTimeout, 5*tick, name)
	}
	p.json(t, &list, "connections", "--state", string(pleoauth.StateReauthorisationRequired))
	require.Len(t, list.Connections, 4)
	for _, connection := range list.Connections {
		require.Equal(t, pleoauth.ReasonLostResponse, connection.Reason)
	}
}

func TestASnapshotAloneBecomesABackupByTheDocumentedCommands(t *testing.T) {
	t.Parallel()
	redis := newOwnRedis(t)
	redis.startWith(t, "")
	keys := func() string { return strings.TrimSpace(redis.cli(t, "dbsize")) }
	require.Equal(t, "OK", strings.TrimSpace(redis.cli(t, "mset", "a", "1", "b", "2", "c", "3")))
	require.Contains(t, redis.cli(t, "save"), "OK")
	snapshot, err := os.ReadFile(filepath.Join(redis.dir, "dump.rdb"))
	require.NoError(t, err)

	// The trap: beside appendonly yes, the snapshot is not looked at.
	redis.stop(t, syscall.SIGKILL)
	require.NoError(t, os.RemoveAll(filepath.Join(redis.dir, "appendonlydir")))
	redis.startWith(t, "")
	require.Equal(t, "0", keys())

	require.NoError(t, os.WriteFile(filepath.Join(redis.dir, "dump.rdb"), snapshot, 0o600))
	redis.operator(t, inOperations(t, "backup: dump.rdb")).requireDone(t)
	redis.operator(t, inOperations(t, "restore: machine")).requireDone(t)
	redis.startWith(t, "")
	require.Equal(t, "3", keys())
}

func TestABackupOfARedisThatRewritesItsFileMeanwhileHasEverythingThatWasWrittenBefore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithAppendOnly())
	writer := server.Client(t)
	var written atomic.Int64
	write := redis.NewScript(`redis.call("set", "n:" .. ARGV[1], ARGV[1]) redis.call("set", "last", ARGV[1]) return 1`)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := int64(1); t.Context().Err() == nil && write.Run(t.Context(), writer, nil, n).Err() == nil; n++ {
			written.Store(n)
		}
	}()
	t.Cleanup(func() { <-done })
	require.Eventually(t, func() bool { return written.Load() > 100 }, patience, tick)

	// The file is rewritten between the script's first copy and its second.
	loaded := newOwnRedis(t)
	bin, manifest := filepath.Join(loaded.dir, "bin"), filepath.Join(server.Dir(), "appendonlydir", "appendonly.aof.manifest")
	first, err := os.ReadFile(manifest)
	require.NoError(t, err)
	commandNamed(t, bin, "cp", need(t, "cp")+` "$@" || exit
test ! -e `+bin+`/rewritten || exit 0
touch `+bin+`/rewritten
redis-cli -p `+fmt.Sprint(server.Port())+` bgrewriteaof >/dev/null
until grep -q '2.base' `+manifest+` && ! test -e `+filepath.Dir(manifest)+`/appendonly.aof.1.base.rdb; do sleep 0.01; done
`)
	before := written.Load()
	code, out := runProgram(t, append(loaded.env, "PATH="+bin+":"+os.Getenv("PATH")), nil, "sh", "-c", fmt.Sprintf(
		"sh ../deploy/kubernetes/redis/config/backup.sh %s | tar -xzf - -C %s", server.Dir(), loaded.dir))
	require.Zero(t, code, out)
	require.FileExists(t, filepath.Join(bin, "rewritten"))
	copied, err := os.ReadFile(filepath.Join(loaded.dir, "appendonlydir", "appendonly.aof.manifest"))
	require.NoError(t, err)
	require.NotEqual(t, string(first), string(copied))
	left, err := filepath.Glob(filepath.Join(server.Dir(), "backup*"))
	require.NoError(t, err)
	require.Empty(t, left, "it leaves nothing behind")

	loaded.startWith(t, "")
	last := loaded.cli(t, "get", "last")
	var n int64
	_, err = fmt.Sscan(last, &n)
	require.NoError(t, err, last)
	require.GreaterOrEqual(t, n, before)
	require.Equal(t, fmt.Sprint(n+1), strings.TrimSpace(loaded.cli(t, "dbsize")), "and each one before it")
}
