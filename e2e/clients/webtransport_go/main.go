// WebTransport by quic-go's webtransport-go: a client, and a server that stands behind Headrace.
//
// Owns what the two do and what they tell. Says what it saw as JSON on standard output; whoever runs it judges. Must not
// know what stands between the two.
//
//	webtransport_go backend --certificate tls.pem --key tls.key
//	webtransport_go client --url https://localhost:8443/sessions --ca ca.pem --address 127.0.0.1
//	webtransport_go client --url https://localhost:8443/mesh --ca ca.pem --address 127.0.0.1 --plain
//
// Both are built twice: with the newest webtransport-go (go.mod), and with the newest whose client does without
// RESET_STREAM_AT of its server (dialer.mod, and the build tag `dialer` for what is called differently there).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

// The guard of each wait: far above what any of them takes.
const guard = 30 * time.Second

// More streams than any client or Headrace opens here: what is too many is not this program's to say.
const maxStreams = 1000

// A connection that says nothing ends after this long, so that no process waits for ever.
const idleTimeout = 60 * time.Second

func quicConfig() *quic.Config {
	return &quic.Config{
		EnableDatagrams:                  true,
		EnableStreamResetPartialDelivery: true,
		MaxIncomingStreams:               maxStreams,
		MaxIncomingUniStreams:            maxStreams,
		MaxIdleTimeout:                   idleTimeout,
	}
}

// say writes one line of JSON.
func say(what any) {
	if err := json.NewEncoder(os.Stdout).Encode(what); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	programs := map[string]func([]string) error{"client": client, "backend": backend}
	var program func([]string) error
	if len(os.Args) > 1 {
		program = programs[os.Args[1]]
	}
	if program == nil {
		fmt.Fprintln(os.Stderr, "usage: webtransport_go client|backend ...")
		os.Exit(2)
	}
	if err := program(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
