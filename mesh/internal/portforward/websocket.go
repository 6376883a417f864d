package portforward

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// websocket upgrades to a websocket (RFC 6455) that carries SPDY.
func (f *Forwarder) websocket(ctx context.Context, u *url.URL, op string) (net.Conn, error) {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	h := http.Header{"Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {key}, "Sec-Websocket-Protocol": {tunnelProtocol}}
	resp, conn, err := f.upgrade(ctx, http.MethodGet, u, h, op)
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if resp.Header.Get("Sec-Websocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) || resp.Header.Get("Sec-Websocket-Protocol") != tunnelProtocol {
		conn.Close()
		return nil, &Error{Op: op, Status: resp.StatusCode, Kind: ErrServer, Message: "it switched to another protocol than " + tunnelProtocol}
	}
	return &tunnel{rawConn: conn, r: bufio.NewReader(conn)}, nil
}

// rawConn is an upgraded connection as a net.Conn. It is bounded by being closed.
type rawConn struct{ io.ReadWriteCloser }

type noAddr struct{}

func (noAddr) Network() string { return "portforward" }
func (noAddr) String() string  { return "pod" }

func (*rawConn) LocalAddr() net.Addr              { return noAddr{} }
func (*rawConn) RemoteAddr() net.Addr             { return noAddr{} }
func (*rawConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (*rawConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (*rawConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// tunnel is the bytes within a websocket's messages, whose borders mean nothing.
// One goroutine may read while others write.
type tunnel struct {
	*rawConn
	r    *bufio.Reader
	left uint64 // of the frame that is being read

	mu  sync.Mutex // over writing
	buf []byte
}

// Opcodes of RFC 6455 section 5.2.
const (
	opContinue, opBinary     = 0, 2
	opClose, opPing, opPong  = 8, 9, 10
	final, masked, longest16 = 0x80, 0x80, 0xffff
)

var errFrame = errors.New("not a websocket frame that a server sends")

func (t *tunnel) Read(p []byte) (int, error) {
	for t.left == 0 {
		if err := t.next(); err != nil {
			return 0, err
		}
	}
	n, err := t.r.Read(p[:min(uint64(len(p)), t.left)])
	t.left -= uint64(n)
	return n, err
}

// next reads the head of a frame, and the whole of one that carries no data.
func (t *tunnel) next() error {
	var head [2]byte
	if _, err := io.ReadFull(t.r, head[:]); err != nil {
		return err
	}
	size := uint64(head[1] & 0x7f)
	if n := map[uint64]int{126: 2, 127: 8}[size]; n > 0 {
		var long [8]byte
		if _, err := io.ReadFull(t.r, long[8-n:]); err != nil {
			return err
		}
		size = binary.BigEndian.Uint64(long[:])
	}
	if head[1]&masked != 0 {
		return fmt.Errorf("%w: it is masked", errFrame)
	}
	switch op := head[0] & 0x0f; op {
	case opContinue, opBinary:
		t.left = size
		return nil
	case opClose:
		return io.EOF
	case opPing, opPong:
		if size > 125 {
			return fmt.Errorf("%w: a control frame of %d bytes", errFrame, size)
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(t.r, body); err != nil || op == opPong {
			return err
		}
		return t.write(opPong, body)
	default:
		return fmt.Errorf("%w: opcode %d", errFrame, op)
	}
}

func (t *tunnel) Write(p []byte) (int, error) {
	if err := t.write(opBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// write sends one frame, masked as a client has to.
func (t *tunnel) write(op byte, p []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := append(t.buf[:0], final|op)
	switch n := len(p); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n <= longest16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	var mask [4]byte
	rand.Read(mask[:])
	b = append(b, mask[:]...)
	for i, c := range p {
		b = append(b, c^mask[i%4])
	}
	t.buf = b
	_, err := t.rawConn.Write(b)
	return err
}
