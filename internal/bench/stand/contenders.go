//go:build linux

package stand

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// constantToken is what Caddy alone sends with every call.
var constantToken = Token("a", 0, AccessTokenSize)

// ConstantToken returns the token of calls that go to the upstream directly.
func ConstantToken() string { return constantToken }

// Caddy is a process of the proxy's binary.
type Caddy struct {
	*Process
	socket string
}

// StartCaddy starts Caddy alone: a reverse proxy that puts in a constant token.
func (s *Stand) StartCaddy() (*Caddy, error) {
	return s.startCaddy("caddy", "", fmt.Sprintf(`respond /healthz 200
	reverse_proxy %s {
		header_up Authorization "Bearer %s"
	}`, s.Upstream.Addr, constantToken))
}

// StartIdleCaddy starts Caddy with a site that answers by itself and no more.
func (s *Stand) StartIdleCaddy() (*Caddy, error) {
	return s.startCaddy("idle", "", "respond /healthz 200\n\treverse_proxy "+s.Upstream.Addr)
}

// StartPleo starts the proxy, with further options of pleo, one a line.
func (s *Stand) StartPleo(options ...string) (*Caddy, error) {
	pleo := fmt.Sprintf(`pleo {
		auth_server %s
		api_server http://%s
		client_id %s
		client_secret {env.PLEO_CLIENT_SECRET}
		store redis %s
		encryption_key {env.PLEO_ENCRYPTION_KEY}
		%s
	}`, s.Tokens.URL, s.Upstream.Addr, ClientID, s.Server.URL(), strings.Join(options, "\n\t\t"))
	return s.startCaddy("pleo", pleo, "pleo_health /healthz\n\tpleo_proxy")
}

func (s *Stand) startCaddy(name, globals, site string) (*Caddy, error) {
	dir := s.home(name)
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	c := &Caddy{socket: filepath.Join(dir, "admin.sock")}
	_, port, _ := strings.Cut(addr, ":")
	text := fmt.Sprintf(`{
	admin unix/%s
	grace_period 1s
	log {
		level WARN
	}
	%s
}

http://:%s {
	bind 127.0.0.1
	%s
}
`, c.socket, globals, port, site)
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	env := []string{"PLEO_ENCRYPTION_KEY=" + s.Key, "PLEO_CLIENT_SECRET=secret"}
	if c.Process, err = start(dir, addr, env, s.Binary, "run", "--config", file); err != nil {
		return nil, err
	}
	s.started = append(s.started, c.Process)
	return c, c.await(func() bool { return healthy(addr) })
}

// StartRedisProxy starts a reverse proxy in Go that asks Redis for each call.
func (s *Stand) StartRedisProxy() (*Process, error) {
	p, err := startRole(s.home("redis-proxy"), roleRedisProxy, s.Upstream.Addr, s.Server.Addr())
	if err == nil {
		s.started = append(s.started, p)
	}
	return p, err
}

// StartNginx starts nginx with Lua that asks Redis for each call. The error wraps
// [ErrNotInstalled] if it cannot be had here.
func (s *Stand) StartNginx() (*Process, error) {
	if _, err := exec.LookPath("nginx"); err != nil {
		return nil, fmt.Errorf("nginx: %w", ErrNotInstalled)
	}
	modules := "/usr/lib/nginx/modules/"
	for _, file := range []string{modules + "ngx_http_lua_module.so", "/usr/share/lua/5.1/nginx/redis.lua"} {
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("nginx with Lua and its client for Redis: %w: there is no %s", ErrNotInstalled, file)
		}
	}
	dir := s.home("nginx")
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	file := filepath.Join(dir, "nginx.conf")
	text := strings.NewReplacer("{dir}", dir, "{modules}", modules, "{addr}", addr, "{user}", user,
		"{upstream}", s.Upstream.Addr, "{redis}", fmt.Sprint(s.Server.Port())).Replace(nginxConf)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := start(dir, addr, nil, "nginx", "-p", dir, "-c", file, "-e", filepath.Join(dir, "error.log"))
	if err != nil {
		return nil, err
	}
	s.started = append(s.started, p)
	return p, p.await(func() bool { return listens(addr) && len(p.PIDs()) > runtime.NumCPU() })
}

// nginxConf is what people write by hand: a token from Redis for each request,
// over connections that are kept.
const nginxConf = `daemon off;
{user}
worker_processes auto;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
load_module {modules}ndk_http_module.so;
load_module {modules}ngx_http_lua_module.so;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	client_body_buffer_size 64k;
	lua_package_path "/usr/share/lua/5.1/?.lua;;";
	upstream api {
		server {upstream};
		keepalive 256;
		keepalive_requests 1000000000;
	}
	server {
		listen {addr};
		keepalive_requests 1000000000;
		location / {
			set $token "";
			access_by_lua_block {
				local client = require("nginx.redis"):new()
				client:set_timeout(1000)
				if not client:connect("127.0.0.1", {redis}) then
					return ngx.exit(503)
				end
				local token = client:get("token:" .. (ngx.var.http_pleo_connection or ""))
				if not token or token == ngx.null then
					return ngx.exit(503)
				end
				client:set_keepalive(60000, 256)
				ngx.var.token = token
			}
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Authorization "Bearer $token";
			proxy_set_header Pleo-Connection "";
			proxy_max_temp_file_size 0;
			proxy_pass http://api;
		}
	}
}
`
