package test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var screenshots = flag.String("screenshots", "", "the folder that pictures of the pages are put into; default: none are made")

// chromium is a running Chromium, without a window.
type chromium struct{ ctx context.Context }

// startChromium starts the browser, which ends with the test.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	dir, env := home(t)
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(need(t, "chromium")), chromedp.UserDataDir(filepath.Join(dir, "profile")), chromedp.Env(env...),
		chromedp.DisableGPU, chromedp.Flag("no-proxy-server", true), chromedp.WSURLReadTimeout(startTimeout))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it does not work for root, as whom tests run in a container
	}
	// Not t.Context(), which ends before the cleanups that stop the browser.
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // waits for its end, so that its files can go
	require.NoError(t, chromedp.Do(ctx), "starting Chromium")
	return &chromium{ctx}
}

// tab is a tab of a browser context of its own, as of another person's browser.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// person returns a browser that nobody has used before, in which no page can
// run a script. No page may have anything refused by its own policy.
func (c *chromium) person(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, b.hear))
	call(b, log.Enable, cdp.Empty{})
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.screen(1120, 720, "light")
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		require.Empty(t, b.complaints, "what the browser refused to do")
	})
	return b
}

func (b *tab) hear(event any) {
	entry, ok := event.(*log.EventEntryAdded)
	if !ok || !strings.Contains(entry.Entry.Text, "Content Security Policy") {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, entry.Entry.Text)
}

// value runs an action that returns something.
func value[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	require.NoError(b.t, err)
	return v
}

// call runs a command of the protocol that browsers are driven by.
func call[P, R any](b *tab, command cdp.Command[P, R], parameters P) R {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	r, err := chromedp.Call(ctx, command, parameters)
	require.NoError(b.t, err)
	return r
}

func (b *tab) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, startTimeout)
}

// do runs actions that return nothing and load no page.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, actions...))
}

// load runs an action that loads a page, and returns its status and heading.
func (b *tab) load(action chromedp.Action[chromedp.Void]) (status int, heading string) {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	res, err := chromedp.RunResponse(ctx, action)
	require.NoError(b.t, err)
	require.NotNil(b.t, res)
	return int(res.Status), b.text("h1")
}

func (b *tab) open(url string) (status int, heading string) {
	b.t.Helper()
	return b.load(chromedp.Navigate(url))
}

// click clicks on what leads to another page.
func (b *tab) click(selector string) (status int, heading string) {
	b.t.Helper()
	return b.load(chromedp.Click(chromedp.CSS(selector)))
}

// fill types into a field, in place of what is there.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).select()", selector)), chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (b *tab) text(selector string) string {
	b.t.Helper()
	return value(b, chromedp.Text(chromedp.CSS(selector)))
}

func (b *tab) url() string {
	b.t.Helper()
	return value(b, chromedp.Location())
}

// screen gives the browser a screen and the preference for light or dark.
func (b *tab) screen(width, height int64, scheme string) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600,
	})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// picture keeps a picture of what is on the screen, if pictures are asked for.
func (b *tab) picture(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	taken, err := png.Decode(bytes.NewReader(value(b, chromedp.CaptureScreenshot())))
	require.NoError(b.t, err)
	var small bytes.Buffer
	require.NoError(b.t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, fewColours(taken)))
	require.NoError(b.t, os.WriteFile(filepath.Join(*screenshots, name+".png"), small.Bytes(), 0o644))
}

// fewColours returns the picture with the 256 colours that it has most of, which
// makes a small file, and no difference that could be seen on these pages.
func fewColours(taken image.Image) image.Image {
	count := make(map[color.Color]int)
	bounds := taken.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[taken.At(x, y)]++
		}
	}
	all := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	few := image.NewPaletted(bounds, all[:min(len(all), 256)])
	draw.Draw(few, bounds, taken, bounds.Min, draw.Src)
	return few
}
