// Command pleo-demo runs the whole product on loopback, with no account needed:
// an emulator in Pleo's place, the proxy in front of it, and a page to start
// from. Access tokens live for one minute, so that refreshes can be watched.
//
// Everything that it keeps is in a folder of its own: stopped and started
// again, it is still connected.
//
// With -emulator it is the emulator alone, for a proxy that runs elsewhere, as
// in deploy/compose.yaml.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "pleo-demo:", err)
		os.Exit(1)
	}
}

// settings are the command's flags.
type settings struct {
	port    int
	dir     string
	life    time.Duration
	verbose bool

	emulator         bool
	listen, redirect string // of the emulator alone
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("pleo-demo", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&s.port, "port", 7536, "where the proxy listens on 127.0.0.1; the emulator takes the two ports after it")
	flags.StringVar(&s.dir, "dir", "", "where the state is kept (default: pleo-demo in the user's cache directory)")
	flags.DurationVar(&s.life, "token-life", time.Minute, "how long access tokens live")
	flags.BoolVar(&s.verbose, "verbose", false, "log at debug level")
	flags.BoolVar(&s.emulator, "emulator", false, "run the emulator alone, on the two ports after -port")
	flags.StringVar(&s.listen, "listen", "127.0.0.1", "the address that the emulator alone listens on")
	flags.StringVar(&s.redirect, "redirect-uri", "http://localhost:8080/pleo/callback", "the redirect URI that the emulator alone has registered")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = os.TempDir()
		}
		s.dir = filepath.Join(cache, "pleo-demo")
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return s, err
	}
	s.dir = dir
	return s, os.MkdirAll(dir, 0o700)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args, out)
	if err != nil {
		return err
	}
	pleo, err := startEmulator(s)
	if err != nil {
		return err
	}
	defer pleo.Close()
	if s.emulator {
		_, _ = fmt.Fprint(out, emulatorGuide(s, pleo))
		<-ctx.Done()
		return nil
	}
	stopProxy, err := startProxy(s, pleo)
	if err != nil {
		return err
	}
	defer stopProxy()
	_, _ = fmt.Fprint(out, guide(s, pleo))
	<-ctx.Done()
	_, _ = fmt.Fprintln(out, "\nstopping; start it again and it is still connected")
	return nil
}
