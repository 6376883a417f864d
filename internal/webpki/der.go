package webpki

import "time"

// Tags that webpki asks for by name (src/der.rs).
const (
	tagBoolean         = 0x01
	tagInteger         = 0x02
	tagBitString       = 0x03
	tagOctetString     = 0x04
	tagOID             = 0x06
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagSequence        = 0x30
	tagPrimitive1      = 0x81
	tagPrimitive2      = 0x82
	tagExplicit0       = 0xa0
	tagExplicit1       = 0xa1
	tagExplicit3       = 0xa3
)

// maxValue is one more than the length of the longest value that is read
// (TWO_BYTE_DER_SIZE in src/der.rs).
const maxValue = 0xffff

// A reader reads DER as strictly as webpki does (src/der.rs, and the crate
// untrusted). The values that it returns share the memory of its input.
type reader struct{ rest []byte }

func (r *reader) empty() bool { return len(r.rest) == 0 }

// peek tells whether the coming value has this tag.
func (r *reader) peek(tag byte) bool { return len(r.rest) > 0 && r.rest[0] == tag }

// value reads any tag and its value. High tag numbers, lengths that are not
// written in the shortest form, indefinite lengths and values of 65535 bytes or
// more are BadDer.
func (r *reader) value() (tag byte, val []byte, err *Error) {
	b := r.rest
	if len(b) < 2 {
		return 0, nil, errBadDer
	}
	tag = b[0]
	if tag&0x1f == 0x1f {
		return 0, nil, errBadDer
	}
	n, head := int(b[1]), 2
	if n >= 0x80 {
		size := n & 0x7f
		if size < 1 || size > 4 || len(b) < 2+size {
			return 0, nil, errBadDer
		}
		n = 0
		for _, c := range b[2 : 2+size] {
			n = n<<8 | int(c)
		}
		// A length has to need all its bytes, and a single one its top bit.
		if n < 0x80 || size > 1 && n>>(8*(size-1)) == 0 {
			return 0, nil, errBadDer
		}
		head += size
	}
	if n >= maxValue || n > len(b)-head {
		return 0, nil, errBadDer
	}
	r.rest = b[head+n:]
	return tag, b[head : head+n : head+n], nil
}

// expect reads a value with this tag; another one is BadDer.
func (r *reader) expect(tag byte) ([]byte, *Error) {
	got, val, err := r.value()
	if err != nil {
		return nil, err
	}
	if got != tag {
		return nil, errBadDer
	}
	return val, nil
}

// nested reads a value with this tag and hands its inside to read, which has to
// use it up. Whatever is wrong with the tag, the length or the end is reported
// as otherwise (der::nested).
func (r *reader) nested(tag byte, otherwise *Error, read func(*reader) *Error) *Error {
	val, err := r.expect(tag)
	if err != nil {
		return otherwise
	}
	return readAll(val, otherwise, read)
}

// enter is nested without the call back, for the parsing of whole certificates,
// which is done so often that its allocations count. The caller has to see to
// it that the inside is used up, and to report otherwise if it is not.
func (r *reader) enter(tag byte, otherwise *Error) (reader, *Error) {
	val, err := r.expect(tag)
	if err != nil {
		return reader{}, otherwise
	}
	return reader{val}, nil
}

// readAll hands b to read, which has to use it up; else the error is otherwise.
func readAll(b []byte, otherwise *Error, read func(*reader) *Error) *Error {
	in := reader{b}
	if err := read(&in); err != nil {
		return err
	}
	if !in.empty() {
		return otherwise
	}
	return nil
}

// boolean reads an optional BOOLEAN that is false by default; an explicit false
// is accepted.
func (r *reader) boolean() (bool, *Error) {
	if !r.peek(tagBoolean) {
		return false, nil
	}
	in, err := r.enter(tagBoolean, trailingBool)
	switch {
	case err != nil:
		return false, err
	case in.empty() || in.rest[0] != 0 && in.rest[0] != 0xff:
		return false, errBadDer
	case len(in.rest) > 1:
		return in.rest[0] == 0xff, trailingBool
	}
	return in.rest[0] == 0xff, nil
}

// small reads an INTEGER from 0 to 255.
func (r *reader) small() (int, *Error) {
	val, err := r.expect(tagInteger)
	if err != nil {
		return 0, err
	}
	switch {
	case len(val) == 1 && val[0] < 0x80:
		return int(val[0]), nil
	case len(val) == 2 && val[0] == 0 && val[1] >= 0x80:
		return int(val[1]), nil
	}
	return 0, errBadDer
}

// bitString reads a BIT STRING of whole bytes.
func (r *reader) bitString() ([]byte, *Error) {
	in, err := r.enter(tagBitString, trailingBitString)
	if err != nil {
		return nil, err
	}
	if in.empty() || in.rest[0] != 0 {
		return nil, errBadDer
	}
	return in.rest[1:], nil
}

// time reads a UTCTime or a GeneralizedTime with seconds and a Z, no earlier
// than 1970, as seconds since then.
func (r *reader) time() (int64, *Error) {
	tag, yearDigits := byte(tagGeneralizedTime), 4
	if r.peek(tagUTCTime) {
		tag, yearDigits = tagUTCTime, 2
	}
	var out int64
	err := r.nested(tag, trailingTime, func(in *reader) *Error {
		bad := false
		digits := func(n, low, high int) int {
			v := 0
			for range n {
				if in.empty() || in.rest[0] < '0' || in.rest[0] > '9' {
					bad = true
					return low
				}
				v = v*10 + int(in.rest[0]-'0')
				in.rest = in.rest[1:]
			}
			if v < low || v > high {
				bad = true
				return low
			}
			return v
		}
		year := digits(yearDigits, 0, 9999)
		if yearDigits == 2 {
			if year >= 50 {
				year += 1900
			} else {
				year += 2000
			}
		}
		month := digits(2, 1, 12)
		day := digits(2, 1, daysIn(year, month))
		hour, minute, second := digits(2, 0, 23), digits(2, 0, 59), digits(2, 0, 59)
		if bad || !in.peek('Z') || year < 1970 {
			return fail(BadDerTime)
		}
		in.rest = in.rest[1:]
		out = time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC).Unix()
		return nil
	})
	return out, err
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// bitFlag reads the inside of a BIT STRING of named bits, and tells whether bit
// n is set (der::bit_string_flags).
func bitFlag(val []byte, n int) (bool, *Error) {
	if len(val) == 0 || val[0] > 7 || len(val) == 1 && val[0] != 0 {
		return false, errBadDer
	}
	bits := val[1:]
	if len(bits) > 0 && bits[len(bits)-1]&(1<<val[0]-1) != 0 {
		return false, errBadDer
	}
	return n/8 < len(bits) && bits[n/8]>>(7-n%8)&1 == 1, nil
}
