//go:build dialer

package main

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

type dialAddr = func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error)

func dialer(trust *tls.Config, dial dialAddr) func(context.Context, string) (*http.Response, *webtransport.Session, error) {
	dialer := &webtransport.Dialer{TLSClientConfig: trust, QUICConfig: quicConfig(), DialAddr: dial}
	return func(ctx context.Context, url string) (*http.Response, *webtransport.Session, error) {
		return dialer.Dial(ctx, url, nil)
	}
}

// This version has no flow control for sessions.
func newServer(server *http3.Server, _ bool) *webtransport.Server {
	webtransport.ConfigureHTTP3Server(server)
	return &webtransport.Server{H3: server}
}
