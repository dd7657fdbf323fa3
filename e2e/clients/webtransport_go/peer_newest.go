//go:build !dialer

package main

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// What a session may take when both ends have flow control for sessions (draft 15, section 5): room for the streams that a
// client holds open, and far fewer octets than they carry, so that credit has to be renewed all the while.
const (
	sessionStreams = 128
	sessionOctets  = 64 << 10
)

type dialAddr = func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error)

func dialer(trust *tls.Config, dial dialAddr) func(context.Context, string) (*http.Response, *webtransport.Session, error) {
	transport := &webtransport.Transport{
		Config:          flowControl(),
		TLSClientConfig: trust, QUICConfig: quicConfig(), DialAddr: dial,
	}
	return func(ctx context.Context, url string) (*http.Response, *webtransport.Session, error) {
		return transport.Dial(ctx, url, nil)
	}
}

func flowControl() *webtransport.Config {
	return &webtransport.Config{
		MaxIncomingStreams: sessionStreams, MaxIncomingUniStreams: sessionStreams, MaxIncomingData: sessionOctets,
	}
}

func newServer(server *http3.Server, flow bool) *webtransport.Server {
	if !flow {
		return &webtransport.Server{H3: server}
	}
	return &webtransport.Server{H3: server, Config: flowControl()}
}
