package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// maxAttempts bounds how often one call is sent. A token is refused when a
// refresh overtakes the call, which the next token does not suffer.
const maxAttempts = 3

// ownPaths is what the paths of this project's routes begin with. A call to one of
// them must not reach Pleo with a token: DELETE at a site without pleo_api, say.
const ownPaths = "/pleo/"

// errFullDuplex: with this option of Caddy's, net/http goes on with what is left
// of a body as the next request on the connection; see replay.close.
var errFullDuplex = errors.New("the server option enable_full_duplex is not supported with transport pleo: " +
	"what is left of a call's body would be taken for further calls")

// RoundTrip sends a call with its connection's token, or answers it itself.
// Nothing is forwarded without a token.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := newReplay(req, t.limit, t.memory)
	defer body.finish()

	ctx := req.Context()
	repl, _ := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if ctx.Value(caddyhttp.VarsCtxKey) == nil || repl == nil {
		return t.probe(req, body)
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server.EnableFullDuplex {
		return nil, errFullDuplex
	}
	if reason := t.caller.refusal(req, repl); reason != "" {
		return t.answer(req, clientNotAllowed(reason), nil)
	}
	if !methodAllowed(req.Method) {
		return t.answer(req, methodNotSupported(), nil)
	}
	if strings.HasPrefix(req.URL.Path, ownPaths) {
		return t.answer(req, ownPath(), nil)
	}
	connection, err := connectionOf(req, repl, t.Connection)
	if err != nil {
		return t.answer(req, invalidConnection(), err)
	}
	shared, err := t.app.current(ctx)
	if err != nil {
		return t.answer(req, t.app.tokenProblem(connection, err), err)
	}
	defer shared.leave()
	return t.call(req, body, connection, t.tokens(shared))
}

// call sends the call, and sends it again when its token was refused and there
// is another one: once for each token, so that it cannot loop.
func (t *Transport) call(req *http.Request, body *replay, connection string, tokens tokenSource) (*http.Response, error) {
	token, err := tokens.Token(req.Context(), connection)
	if err != nil {
		return t.answer(req, t.app.tokenProblem(connection, err), err)
	}
	var refused []string
	for {
		repeat := startRepeat(req.Context(), connection, len(refused))
		res, err := t.send(req, body, token.Authorization())
		repeat.answered(res, err)
		if err != nil || res.StatusCode != http.StatusUnauthorized {
			metrics.calls.sent(req, len(refused) > 0, err)
			return res, err
		}
		refused = append(refused, token.Version())
		ctx, asking := startSpan(req.Context(), "pleo.refused", connection)
		token, err = tokens.Refused(ctx, connection, token)
		asking.end(err)
		if errors.Is(err, pleoauth.ErrTokenAlive) {
			metrics.calls.refused.Inc()
			return res, nil // it is about the call
		}
		discard(res)
		switch {
		case err != nil:
			return t.answer(req, t.app.tokenProblem(connection, err), err)
		case len(refused) == maxAttempts, slices.Contains(refused, token.Version()):
			return t.answer(req, refreshFailed(connection, 0), nil)
		case !body.again():
			return t.answer(req, callNotRepeated(connection), nil)
		}
	}
}

func (t *Transport) send(req *http.Request, body *replay, authorization string) (*http.Response, error) {
	out := t.outgoing(req, authorization)
	body.attempt(&out.request)
	res, err := t.HTTPTransport.RoundTrip(&out.request)
	if err != nil {
		return nil, withoutToken(err, authorization)
	}
	t.api.leadBack(res, req)
	return out.came(res), nil
}

// probe sends an active health check of the reverse proxy's own. No caller can
// bring one about: it comes without the variables that Caddy gives each request.
func (t *Transport) probe(req *http.Request, body *replay) (*http.Response, error) {
	return t.send(req, body, "")
}

// answer answers the call with a problem, unless the caller has gone away.
func (t *Transport) answer(req *http.Request, p *problem, cause error) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		metrics.calls.abandoned.Inc()
		return nil, err
	}
	metrics.calls.problem(p)
	if c := t.logger.Check(zapcore.DebugLevel, "answering a call"); c != nil {
		c.Write(zap.Int("status", p.Status), zap.String("type", p.Type), zap.String("reason", p.Reason),
			zap.String("connection", p.Connection), zap.NamedError("cause", cause))
	}
	return p.response(req), nil
}

// discard lets go of an answer. A short one is read to its end, so that the
// connection can be used again.
func discard(res *http.Response) {
	if res.ContentLength >= 0 && res.ContentLength <= 4<<10 {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 4<<10))
	}
	_ = res.Body.Close()
}
