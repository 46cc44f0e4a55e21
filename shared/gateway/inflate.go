package gateway

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"sluice/shared/core"
)

// maxWindow bounds the memory that a zstd body makes the decoder hold; clients compress with 8 MiB or less.
const maxWindow = 8 << 20

// inflate replaces a compressed body by what it holds, at most max bytes.
func (b *body) inflate(h http.Header, max int64) error {
	name := strings.ToLower(strings.TrimSpace(h.Get("Content-Encoding")))
	var src io.Reader
	switch name {
	case "", "identity":
		return nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(bytes.NewReader(b.buf))
		if err != nil {
			return badEncoding(name)
		}
		src = z
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(b.buf), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(uint64(max)+maxWindow))
		if err != nil {
			return badEncoding(name)
		}
		defer z.Close()
		src = z
	default:
		return core.E(core.CodeInvalid, "Content-Encoding "+clip(name, 40)+" is not supported; send the body as it is, or with gzip or zstd.")
	}
	next := &body{pool: b.pool, class: -1}
	if err := next.fill(src, max, int64(len(b.buf))*4); err != nil {
		next.free()
		var e *core.Error
		if errors.As(err, &e) {
			return e
		}
		return badEncoding(name)
	}
	b.free()
	b.buf, b.class = next.buf, next.class
	next.buf, next.class = nil, -1
	return nil
}

func badEncoding(name string) error {
	return core.E(core.CodeInvalid, "The request body is not valid "+name+", as its Content-Encoding says.")
}

// fill reads src to its end, at most limit bytes, into a buffer of at first about size bytes.
func (b *body) fill(src io.Reader, limit, size int64) error {
	if err := b.grow(min(max(size, 1), limit, bodyAtOnce)); err != nil {
		return err
	}
	for {
		n, err := src.Read(b.buf[len(b.buf):cap(b.buf)])
		b.buf = b.buf[:len(b.buf)+n]
		switch {
		case int64(len(b.buf)) > limit:
			return tooLarge(limit)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if len(b.buf) == cap(b.buf) {
			if err := b.grow(int64(cap(b.buf)) * 2); err != nil {
				return err
			}
		}
	}
}

func tooLarge(max int64) *core.Error {
	return &core.Error{Code: core.CodeTooLarge, Message: "Request body is larger than the gateway's limit of " + sizeText(max) + "."}
}
