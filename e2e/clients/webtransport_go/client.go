package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"
)

const (
	// So many streams are open at once, before one of them ends.
	streams = 100
	// On each.
	streamOctets = 20_000
	// Streams of one way, datagrams, greetings of the backend's, and sessions at the same time.
	few = 5
	// How long a datagram's echo may take before it is sent again: it may be lost.
	datagramWait = 200 * time.Millisecond
	// What the client resets and stops with, and what it has the backend reset and stop with.
	clientResets, clientStops, backendResets, backendStops = 77, 78, 79, 4_000_000_000
)

type seen map[string]any

type opener = func(string) (*http.Response, *webtransport.Session, error)

func client(arguments []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	where := flags.String("url", "", "of the session")
	ca := flags.String("ca", "", "PEM, whom to trust")
	address := flags.String("address", "127.0.0.1", "where the URL's host is")
	plain := flags.Bool("plain", false, "the other end only echoes: TCP and UDP")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	target, err := url.Parse(*where)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	trust := &tls.Config{RootCAs: roots, ServerName: target.Hostname(), NextProtos: []string{"h3"}}
	dial := dialer(trust, func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
		return quic.DialAddr(ctx, net.JoinHostPort(*address, target.Port()), tlsConfig, config)
	})
	open := func(target string) (*http.Response, *webtransport.Session, error) {
		ctx, cancel := context.WithTimeout(context.Background(), guard)
		defer cancel()
		return dial(ctx, target)
	}
	response, session, err := open(*where)
	if err != nil && response == nil {
		// Told, not failed: some versions ask for what Headrace has not.
		say(seen{"refused": err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	found := seen{"status": response.StatusCode}
	steps := []func(*webtransport.Session, seen) error{greetings, echoes, oneWay, codes}
	if *plain {
		steps = []func(*webtransport.Session, seen) error{echoes, plainEnds}
	}
	for _, step := range steps {
		if err := step(session, found); err != nil {
			return err
		}
	}
	if err := together(open, *where, found); err != nil {
		return err
	}
	if err := closed(session, 4001, "done"); err != nil {
		return err
	}
	if !*plain {
		if err := closedByBackend(open, *where, found); err != nil {
			return err
		}
	}
	response, _, err = open((&url.URL{Scheme: "https", Host: target.Host, Path: "/nowhere"}).String())
	if response == nil {
		return fmt.Errorf("elsewhere: %w", err)
	}
	found["elsewhere"] = response.StatusCode
	say(found)
	return nil
}

// told runs a command of the backend's to its end.
func told(session *webtransport.Session, line string) (string, error) {
	stream, err := session.OpenStream()
	if err != nil {
		return "", err
	}
	fmt.Fprintln(stream, line)
	_ = stream.Close()
	_ = stream.SetReadDeadline(time.Now().Add(guard))
	answer, err := io.ReadAll(stream)
	if err != nil {
		return "", fmt.Errorf("%s: %w", line, err)
	}
	return string(bytes.TrimSpace(answer)), nil
}

func greetings(session *webtransport.Session, found seen) error {
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	var both, one []string
	answers := make(chan string, 1)
	go func() {
		answer, err := told(session, fmt.Sprintf("!open bi %d", few))
		if err != nil {
			answer = err.Error()
		}
		answers <- answer
	}()
	for range few {
		stream, err := session.AcceptStream(ctx)
		if err != nil {
			return fmt.Errorf("a greeting: %w", err)
		}
		greeting, err := io.ReadAll(stream)
		if err != nil {
			return fmt.Errorf("a greeting: %w", err)
		}
		both = append(both, string(greeting))
		fmt.Fprintf(stream, "%s, answered", greeting)
		_ = stream.Close()
	}
	found["answers"] = <-answers
	if _, err := told(session, fmt.Sprintf("!open uni %d", few)); err != nil {
		return err
	}
	for range few {
		stream, err := session.AcceptUniStream(ctx)
		if err != nil {
			return fmt.Errorf("a greeting of one way: %w", err)
		}
		greeting, err := io.ReadAll(stream)
		if err != nil {
			return fmt.Errorf("a greeting of one way: %w", err)
		}
		one = append(one, string(greeting))
	}
	slices.Sort(both)
	slices.Sort(one)
	found["greetings"] = seen{"bidirectional": both, "unidirectional": one}
	return nil
}

// echoes is all that a server can do that knows nothing of WebTransport.
func echoes(session *webtransport.Session, found seen) error {
	content := make([]byte, streamOctets)
	for index := range content {
		content[index] = byte(index % 251)
	}
	var whole atomic.Int64
	var open, done sync.WaitGroup
	open.Add(streams)
	failures := make(chan error, streams)
	for range streams {
		done.Go(func() {
			if err := echo(session, content, &open); err != nil {
				failures <- err
				return
			}
			whole.Add(1)
		})
	}
	done.Wait()
	found["streams"] = whole.Load()
	if len(failures) > 0 {
		found["streamFailure"] = (<-failures).Error()
	}
	echoed := 0
	for index := range few {
		if datagram(session, fmt.Appendf(nil, "datagram %d", index)) {
			echoed++
		}
	}
	found["datagrams"] = echoed
	return nil
}

// echo holds its stream open, half of it echoed, until every other has come as far.
func echo(session *webtransport.Session, content []byte, open *sync.WaitGroup) error {
	arrived := sync.OnceFunc(open.Done)
	defer arrived()
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	stream, err := session.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	_ = stream.SetDeadline(time.Now().Add(guard))
	half := len(content) / 2
	got := make([]byte, half)
	if _, err := stream.Write(content[:half]); err != nil {
		return err
	}
	if _, err := io.ReadFull(stream, got); err != nil {
		return err
	}
	arrived()
	open.Wait()
	if _, err := stream.Write(content[half:]); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	rest, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	if !bytes.Equal(append(got, rest...), content) {
		return errors.New("not what was sent")
	}
	return nil
}

func datagram(session *webtransport.Session, content []byte) bool {
	deadline := time.Now().Add(guard)
	for time.Now().Before(deadline) {
		if session.SendDatagram(content) != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), datagramWait)
		for {
			got, err := session.ReceiveDatagram(ctx)
			if err != nil {
				break
			}
			if bytes.Equal(got, content) {
				cancel()
				return true
			}
		}
		cancel()
	}
	return false
}

func oneWay(session *webtransport.Session, found seen) error {
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	for index := range few {
		stream, err := session.OpenUniStreamSync(ctx)
		if err != nil {
			return fmt.Errorf("one way: %w", err)
		}
		fmt.Fprintf(stream, "one way %d", index)
		_ = stream.Close()
	}
	var answers []string
	for range few {
		stream, err := session.AcceptUniStream(ctx)
		if err != nil {
			return fmt.Errorf("an answer of one way: %w", err)
		}
		answer, err := io.ReadAll(stream)
		if err != nil {
			return fmt.Errorf("an answer of one way: %w", err)
		}
		answers = append(answers, string(answer))
	}
	slices.Sort(answers)
	found["oneWay"] = answers
	return nil
}

// plainEnds are those of TCP: its FIN, and its RST in either direction.
func plainEnds(session *webtransport.Session, found seen) error {
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	one, err := session.OpenUniStreamSync(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(one, "one way")
	_ = one.Close()

	stream, err := begun(session)
	if err != nil {
		return err
	}
	stream.CancelWrite(clientResets)

	// The server resets what begins so.
	if stream, err = session.OpenStreamSync(ctx); err != nil {
		return err
	}
	fmt.Fprint(stream, "!reset, please")
	_ = stream.SetReadDeadline(time.Now().Add(guard))
	_, err = io.ReadAll(stream)
	found["resetAtClient"] = remote(err)
	return nil
}

// together are sessions that are open at the same time.
func together(open opener, where string, found seen) error {
	var sessions []*webtransport.Session
	for range few {
		_, session, err := open(where)
		if err != nil {
			return fmt.Errorf("another session: %w", err)
		}
		sessions = append(sessions, session)
	}
	echoed := 0
	for _, session := range sessions {
		if _, err := begun(session); err != nil {
			return fmt.Errorf("another session: %w", err)
		}
		echoed++
	}
	for _, session := range sessions {
		if err := closed(session, 0, ""); err != nil {
			return err
		}
	}
	found["together"] = echoed
	return nil
}

// begun is a stream that the backend has echoed an octet of.
func begun(session *webtransport.Session) (*webtransport.Stream, error) {
	stream, err := session.OpenStream()
	if err != nil {
		return nil, err
	}
	_ = stream.SetDeadline(time.Now().Add(guard))
	if _, err := stream.Write([]byte("x")); err != nil {
		return nil, err
	}
	_, err = io.ReadFull(stream, make([]byte, 1))
	return stream, err
}

func codes(session *webtransport.Session, found seen) error {
	stream, err := begun(session)
	if err != nil {
		return err
	}
	stream.CancelWrite(clientResets)
	if found["resetAtBackend"], err = told(session, "!await reset"); err != nil {
		return err
	}
	if stream, err = begun(session); err != nil {
		return err
	}
	stream.CancelRead(clientStops)
	if found["stopAtBackend"], err = told(session, "!await stop"); err != nil {
		return err
	}
	_ = stream.Close()

	if stream, err = session.OpenStream(); err != nil {
		return err
	}
	fmt.Fprintf(stream, "!reset %d\n", backendResets)
	_ = stream.SetReadDeadline(time.Now().Add(guard))
	_, err = io.ReadAll(stream)
	found["resetAtClient"] = remote(err)
	_ = stream.Close()

	if stream, err = session.OpenStream(); err != nil {
		return err
	}
	fmt.Fprintf(stream, "!stop %d\n", backendStops)
	select {
	case <-stream.Context().Done():
	case <-time.After(guard):
	}
	_, err = stream.Write([]byte("x"))
	found["stopAtClient"] = remote(err)
	return nil
}

// remote is the code of the other side's, or what else it was.
func remote(err error) any {
	var ended *webtransport.StreamError
	if errors.As(err, &ended) && ended.Remote {
		return ended.ErrorCode
	}
	return fmt.Sprint(err)
}

func closedByBackend(open opener, where string, found seen) error {
	_, session, err := open(where)
	if err != nil {
		return err
	}
	stream, err := session.OpenStream()
	if err != nil {
		return err
	}
	fmt.Fprintln(stream, "!close 4321 as asked")
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	_, err = session.AcceptStream(ctx)
	var ended *webtransport.SessionError
	if !errors.As(err, &ended) {
		return fmt.Errorf("the session did not end by itself: %w", err)
	}
	found["closedByBackend"] = seen{"code": ended.ErrorCode, "reason": ended.Message, "remote": ended.Remote}
	return nil
}

// closed closes a session. That the peer reads no further than the capsule, and says so before the FIN, is its right.
func closed(session *webtransport.Session, code webtransport.SessionErrorCode, reason string) error {
	err := session.CloseWithError(code, reason)
	if err != nil && strings.Contains(err.Error(), "close called for canceled stream") {
		return nil
	}
	return err
}
