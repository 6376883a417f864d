package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// ContentType is what a request for this format accepts.
const ContentType = "application/vnd.kubernetes.protobuf"

// MaxItem is the largest item that is read, in bytes. etcd takes no object of
// more than 1.5 MiB; what exceeds this is no Kubernetes object.
const MaxItem = 8 << 20

// ErrFormat means that the bytes are not what an API server sends.
var ErrFormat = errors.New("not a Kubernetes protobuf list")

// ListMeta is what a list says about itself.
type ListMeta struct {
	ResourceVersion string
	Continue        string // token of the next page, "" on the last
}

// ReadList reads one response and calls item with the bytes of each of its
// items, which are valid only during the call.
func ReadList(r io.Reader, item func([]byte) error) (ListMeta, error) {
	l := &lister{r: bufio.NewReaderSize(r, 64<<10), item: item, left: math.MaxInt64}
	err := l.envelope()
	return l.meta, err
}

type lister struct {
	r    *bufio.Reader
	left int64 // bytes of the enclosing message that are still to come
	meta ListMeta
	item func([]byte) error
	buf  []byte
}

// Fields of runtime.Unknown and of every list type.
const (
	unknownRaw = 2
	listMeta   = 1
	listItems  = 2
)

func (l *lister) envelope() error {
	var magic [4]byte
	if _, err := io.ReadFull(l.r, magic[:]); err != nil {
		return truncated(err)
	}
	if string(magic[:]) != "k8s\x00" {
		return fmt.Errorf("%w: it does not begin with k8s", ErrFormat)
	}
	for found := false; ; {
		num, typ, err := l.tag()
		if errors.Is(err, io.EOF) && found {
			return nil
		}
		if err != nil {
			return truncated(err)
		}
		if num != unknownRaw || typ != protowire.BytesType {
			if err := l.skip(typ); err != nil {
				return err
			}
			continue
		}
		n, err := l.length()
		if err != nil {
			return err
		}
		outer := l.left - n
		l.left = n
		if err := l.list(); err != nil {
			return err
		}
		l.left, found = outer, true
	}
}

func (l *lister) list() error {
	for l.left > 0 {
		num, typ, err := l.tag()
		if err != nil {
			return truncated(err)
		}
		if typ != protowire.BytesType || num != listItems && num != listMeta {
			if err := l.skip(typ); err != nil {
				return err
			}
			continue
		}
		b, err := l.bytes()
		if err != nil {
			return err
		}
		if num == listItems {
			if err := l.item(b); err != nil {
				return err
			}
			continue
		}
		f := fields{b: b}
		for f.next() {
			switch f.num {
			case 2:
				l.meta.ResourceVersion = string(f.v)
			case 3:
				l.meta.Continue = string(f.v)
			}
		}
		if f.err != nil {
			return f.err
		}
	}
	return nil
}

// tag reads a field's number and type; io.EOF means that there is none.
func (l *lister) tag() (protowire.Number, protowire.Type, error) {
	v, err := l.varint()
	if err != nil {
		return 0, 0, err
	}
	num, typ := protowire.DecodeTag(v)
	if num < protowire.MinValidNumber {
		return 0, 0, fmt.Errorf("%w: field number %d", ErrFormat, num)
	}
	return num, typ, nil
}

func (l *lister) varint() (uint64, error) {
	v, err := binary.ReadUvarint(counted{l})
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, truncated(err)
	}
	return v, err
}

// counted takes what it reads off the enclosing message.
type counted struct{ l *lister }

func (c counted) ReadByte() (byte, error) {
	if c.l.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	b, err := c.l.r.ReadByte()
	if err == nil {
		c.l.left--
	}
	return b, err
}

// length reads the length of a field and holds it against the message's.
func (l *lister) length() (int64, error) {
	v, err := l.varint()
	if err != nil {
		return 0, truncated(err)
	}
	if v > uint64(l.left) {
		return 0, fmt.Errorf("%w: a field of %d bytes in a message of %d", ErrFormat, v, l.left)
	}
	return int64(v), nil
}

// bytes reads a field into the buffer.
func (l *lister) bytes() ([]byte, error) {
	n, err := l.length()
	if err != nil {
		return nil, err
	}
	if n > MaxItem {
		return nil, fmt.Errorf("%w: an item of %d bytes", ErrFormat, n)
	}
	// Grow by what really arrives: a length is only a claim.
	l.buf = l.buf[:0]
	for int64(len(l.buf)) < n {
		step := min(n-int64(len(l.buf)), 64<<10)
		at := len(l.buf)
		if need := at + int(step); need > cap(l.buf) {
			grown := make([]byte, at, max(need, 2*cap(l.buf)))
			copy(grown, l.buf)
			l.buf = grown
		}
		l.buf = l.buf[:at+int(step)]
		if _, err := io.ReadFull(l.r, l.buf[at:]); err != nil {
			return nil, truncated(err)
		}
	}
	l.left -= n
	return l.buf, nil
}

func (l *lister) skip(typ protowire.Type) error {
	var n int64
	switch typ {
	case protowire.VarintType:
		_, err := l.varint()
		return truncated(err)
	case protowire.Fixed32Type:
		n = 4
	case protowire.Fixed64Type:
		n = 8
	case protowire.BytesType:
		var err error
		if n, err = l.length(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: wire type %d", ErrFormat, typ)
	}
	if n > l.left {
		return fmt.Errorf("%w: a field is longer than its message", ErrFormat)
	}
	l.left -= n
	_, err := io.CopyN(io.Discard, l.r, n)
	return truncated(err)
}

// truncated makes the end of the input in the middle of something an error that
// no caller takes for a good end.
func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fields walks the fields of a message. v holds the value of a
// length-delimited field, u that of a number.
type fields struct {
	b   []byte
	num protowire.Number
	v   []byte
	u   uint64
	err error
}

func (f *fields) next() bool {
	if len(f.b) == 0 || f.err != nil {
		return false
	}
	num, typ, n := protowire.ConsumeTag(f.b)
	if n < 0 {
		return f.bad(n)
	}
	f.b, f.num, f.v, f.u = f.b[n:], num, nil, 0
	switch typ {
	case protowire.BytesType:
		f.v, n = protowire.ConsumeBytes(f.b)
	case protowire.VarintType:
		f.u, n = protowire.ConsumeVarint(f.b)
	default:
		n = protowire.ConsumeFieldValue(num, typ, f.b)
	}
	if n < 0 {
		return f.bad(n)
	}
	f.b = f.b[n:]
	return true
}

func (f *fields) bad(n int) bool {
	f.err = fmt.Errorf("%w: %w", ErrFormat, protowire.ParseError(n))
	return false
}
