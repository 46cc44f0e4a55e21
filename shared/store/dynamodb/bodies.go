package dynamodb

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/store"
)

const (
	maxInline = 350_000        // an item has 400 KB
	pieceSize = 350_000        // of a body that is cut
	maxBody   = 64 * pieceSize // 22 MB
)

// pieces tells how a body was cut. The zero value: it was not.
type pieces struct {
	token string
	n     int
}

// cut stores a large body in pieces under a new token, which nothing points to yet, so that readers see the old body or
// the new one. A small body stays where it is.
func (s *Store) cut(ctx context.Context, d *store.Doc) (pieces, error) {
	if len(d.Body) <= maxInline {
		return pieces{}, nil
	}
	p := pieces{token: rand.Text()}
	var writes []types.WriteRequest
	for from := 0; from < len(d.Body); from += pieceSize {
		it := pieceKey(d, p.token, p.n)
		it["b"] = bin(d.Body[from:min(from+pieceSize, len(d.Body))])
		writes = append(writes, putRequest(expiring(it, d)))
		p.n++
	}
	for from := 0; from < len(writes); from += 10 {
		if err := s.batch(ctx, "store a large document", writes[from:min(from+10, len(writes))]); err != nil {
			s.discard(ctx, d, p.token, int64(p.n))
			return pieces{}, err
		}
	}
	return p, nil
}

func pieceKey(d *store.Doc, token string, n int) item {
	return key("D#"+d.Kind+"#"+d.ID, fmt.Sprintf("C#%s#%04d", token, n))
}

// discard removes the pieces of a token, as far as that works: what is left is never read, and goes with the TTL where
// the document has an end.
func (s *Store) discard(ctx context.Context, d *store.Doc, token string, n int64) {
	if token == "" {
		return
	}
	ctx, cancel := s.lasting(ctx)
	defer cancel()
	var writes []types.WriteRequest
	for i := range n {
		writes = append(writes, deleteRequest(pieceKey(d, token, int(i))))
	}
	_ = s.batch(ctx, "remove pieces", writes)
}

// assemble reads the pieces of a document; false when they are not all there.
func (s *Store) assemble(ctx context.Context, r *row) (whole bool, err error) {
	if r.token == "" {
		return true, nil
	}
	if r.length < 0 || r.length > maxBody {
		return false, fmt.Errorf("dynamodb: %s %s: %w", r.Kind, r.ID, ErrTooLarge)
	}
	body, found := make([]byte, 0, r.length), int64(0)
	prefix := "C#" + r.token + "#"
	err = s.query(ctx, "read a large document", span{pk: "D#" + r.Kind + "#" + r.ID, from: prefix, to: prefix + "~"}, func(it item) (bool, error) {
		body = append(body, getB(it, "b")...)
		found++
		return true, nil
	})
	if err != nil || found != r.pieces || int64(len(body)) != r.length {
		return false, err
	}
	r.Body = body
	return true, nil
}
