// A client that moves: WebSocket tunnels by HTTP/3 (RFC 9220) with quic-go, which migrates from path to path by itself
// (RFC 9000 section 9): it probes the new one, with another connection ID, and then goes on there.
//
// Owns the client's side of the black-box test of several pods. Whoever runs it may besides change the address that the
// server sees, as a NAT does. Says on standard output, as one JSON object, what it saw; whoever runs it judges. Must not
// know what stands behind the server.
//
//	quic_go --url https://localhost:8443 --ca ca.pem --address 198.18.1.1 --tunnels 20 --moves 20
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const (
	// The guard of the whole run: far above what it takes.
	guard = 100 * time.Second
	// Between two moves.
	interval = 150 * time.Millisecond
	// A GET of so much is in flight for as long as the client moves.
	downloadOctets = 2_000_000
	// `/bytes/N` repeats this many octets, 0 to 250.
	patternOctets = 251
)

// Octets of messages, in turn.
var messageOctets = []int{20, 3_000, 40_000}

type seen struct {
	Moves             int      `json:"moves"`
	MovesAmidTransfer int64    `json:"movesAmidTransfer"`
	Echoes            int64    `json:"echoes"`
	Downloaded        int64    `json:"downloaded"`
	Wrong             []string `json:"wrong"`
	Ends              []string `json:"ends"`
}

type run struct {
	client   *http3.ClientConn
	base     string
	moving   atomic.Bool
	inFlight atomic.Int64
	echoes   atomic.Int64
	loaded   atomic.Int64
	mutex    sync.Mutex
	wrong    []string
}

func main() {
	address, tunnels, moves := flag.String("address", "", ""), flag.Int("tunnels", 0, ""), flag.Int("moves", 0, "")
	base, ca := flag.String("url", "", ""), flag.String("ca", "", "")
	flag.Parse()
	result, err := visit(*base, *ca, *address, *tunnels, *moves)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func visit(base, ca, address string, tunnels, moves int) (*seen, error) {
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	conn, err := dial(ctx, base, ca, address)
	if err != nil {
		return nil, err
	}
	r := &run{client: (&http3.Transport{}).NewClientConn(conn), base: base}
	// Before an extended CONNECT is sent (RFC 8441 section 3).
	select {
	case <-r.client.ReceivedSettings():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !r.client.Settings().EnableExtendedConnect {
		return nil, errors.New("the server takes no tunnels")
	}
	streams := make([]*tunnel, tunnels)
	for number := range streams {
		if streams[number], err = r.open(ctx); err != nil {
			return nil, err
		}
	}
	r.moving.Store(true)
	var tasks sync.WaitGroup
	for number, tunnel := range streams {
		tasks.Go(func() { r.check(r.echo(number, tunnel)) })
	}
	tasks.Go(func() { r.check(r.download(ctx)) })
	amid, err := r.move(ctx, conn, moves)
	r.moving.Store(false)
	if err != nil {
		return nil, fmt.Errorf("moving: %w", err)
	}
	tasks.Wait()
	result := &seen{Moves: moves, MovesAmidTransfer: amid, Echoes: r.echoes.Load(), Downloaded: r.loaded.Load()}
	result.Wrong = append([]string{}, r.wrong...)
	for _, tunnel := range streams {
		result.Ends = append(result.Ends, tunnel.close())
	}
	return result, conn.CloseWithError(0x100, "")
}

func dial(ctx context.Context, base, ca, address string) (*quic.Conn, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	to, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	remote, err := net.ResolveUDPAddr("udp4", net.JoinHostPort(address, to.Port()))
	if err != nil {
		return nil, err
	}
	transport, err := port()
	if err != nil {
		return nil, err
	}
	security := &tls.Config{RootCAs: roots, ServerName: to.Hostname(), NextProtos: []string{http3.NextProtoH3}}
	return transport.Dial(ctx, remote, security, &quic.Config{})
}

// A socket of its own, which is a path of its own.
func port() (*quic.Transport, error) {
	socket, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return nil, err
	}
	return &quic.Transport{Conn: socket}, nil
}

func (r *run) check(err error) {
	if err != nil {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		r.wrong = append(r.wrong, err.Error())
	}
}

// Moves from path to path, and tells how often that was in the middle of a transfer. A path that was left is closed, so
// that its connection ID is retired and the server gives another. Its socket stays open: quic-go may not be asked to close
// one that a connection uses.
func (r *run) move(ctx context.Context, conn *quic.Conn, moves int) (int64, error) {
	var amid int64
	var before *quic.Path
	for range moves {
		time.Sleep(interval)
		if r.inFlight.Load() > 0 {
			amid++
		}
		transport, err := port()
		if err != nil {
			return amid, err
		}
		path, err := conn.AddPath(transport)
		if err != nil {
			return amid, err
		}
		if err := path.Probe(ctx); err != nil {
			return amid, err
		}
		if err := path.Switch(); err != nil {
			return amid, err
		}
		if before != nil {
			if err := before.Close(); err != nil {
				return amid, err
			}
		}
		before = path
	}
	time.Sleep(interval)
	return amid, nil
}

func (r *run) request(ctx context.Context, method, path string) *http.Request {
	request, err := http.NewRequestWithContext(ctx, method, r.base+path, nil)
	if err != nil {
		panic(err)
	}
	return request
}

// Downloads again and again, and looks at every octet.
func (r *run) download(ctx context.Context) error {
	for r.moving.Load() {
		r.inFlight.Add(1)
		response, err := r.client.RoundTrip(r.request(ctx, http.MethodGet, fmt.Sprintf("/bytes/%d", downloadOctets)))
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		r.inFlight.Add(-1)
		if err != nil || response.StatusCode != http.StatusOK || len(body) != downloadOctets {
			return fmt.Errorf("a download: %d, %d octets, %v", response.StatusCode, len(body), err)
		}
		for at, octet := range body {
			if octet != byte(at%patternOctets) {
				return fmt.Errorf("a download at %d", at)
			}
		}
		r.loaded.Add(int64(len(body)))
	}
	return nil
}

// Messages one after the other, for as long as the client moves and once more after that. Every message says where it
// belongs, so that one that is lost, repeated or of another tunnel is found.
func (r *run) echo(number int, tunnel *tunnel) error {
	for turn, last := 0, false; !last; turn++ {
		last = !r.moving.Load()
		message := fmt.Appendf(nil, "tunnel %d turn %d ", number, turn)
		size := messageOctets[turn%len(messageOctets)]
		message = bytes.Repeat(message, size/len(message)+1)[:size]
		if err := tunnel.send(0x82, message); err != nil {
			return fmt.Errorf("tunnel %d turn %d: %w", number, turn, err)
		}
		opcode, echoed, err := tunnel.receive()
		if err != nil || opcode != 0x82 || !bytes.Equal(echoed, message) {
			return fmt.Errorf("tunnel %d turn %d: opcode %#x, %d octets, %v", number, turn, opcode, len(echoed), err)
		}
		r.echoes.Add(1)
	}
	return nil
}

// A WebSocket on a request stream, as far as messages in one frame go (RFC 6455 section 5.2).
type tunnel struct{ stream *http3.RequestStream }

func (r *run) open(ctx context.Context) (*tunnel, error) {
	stream, err := r.client.OpenRequestStream(ctx)
	if err != nil {
		return nil, err
	}
	request := r.request(ctx, http.MethodConnect, "/echo")
	request.Proto = "websocket"
	request.Header.Set("sec-websocket-version", "13")
	if err := stream.SendRequestHeader(request); err != nil {
		return nil, err
	}
	response, err := stream.ReadResponse()
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the tunnel did not open: %d", response.StatusCode)
	}
	return &tunnel{stream}, nil
}

func (t *tunnel) send(opcode byte, payload []byte) error {
	frame := []byte{opcode}
	switch {
	case len(payload) < 126:
		frame = append(frame, 0x80|byte(len(payload)))
	case len(payload) < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(len(payload)))
	default:
		return fmt.Errorf("%d octets in one message", len(payload))
	}
	mask := []byte{0x37, 0xfa, 0x21, 0x3d}
	frame = append(frame, mask...)
	for at, octet := range payload {
		frame = append(frame, octet^mask[at%len(mask)])
	}
	_, err := t.stream.Write(frame)
	return err
}

func (t *tunnel) receive() (byte, []byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(t.stream, head); err != nil {
		return 0, nil, err
	}
	length := int(head[1])
	if length == 126 {
		long := make([]byte, 2)
		if _, err := io.ReadFull(t.stream, long); err != nil {
			return 0, nil, err
		}
		length = int(binary.BigEndian.Uint16(long))
	}
	payload := make([]byte, length)
	_, err := io.ReadFull(t.stream, payload)
	return head[0], payload, err
}

// Closes, and tells with which code the server did, and how the stream ended.
func (t *tunnel) close() string {
	if err := t.send(0x88, []byte{0x03, 0xe8}); err != nil {
		return err.Error()
	}
	opcode, payload, err := t.receive()
	if err != nil || opcode != 0x88 || len(payload) < 2 {
		return fmt.Sprintf("opcode %#x, %v", opcode, err)
	}
	_, err = t.stream.Read(make([]byte, 1))
	if err != io.EOF {
		return fmt.Sprintf("not its end: %v", err)
	}
	if err := t.stream.Close(); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d fin", binary.BigEndian.Uint16(payload))
}
