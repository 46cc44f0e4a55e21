package upstreamtest

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

type fileObject struct {
	ID           string    `json:"id"`
	Type         string    `json:"type"`
	Filename     string    `json:"filename"`
	MimeType     string    `json:"mime_type"`
	SizeBytes    int       `json:"size_bytes"`
	CreatedAt    time.Time `json:"created_at"`
	Downloadable bool      `json:"downloadable"`

	data []byte
}

// fileStore holds the files, newest first.
type fileStore struct {
	mu  sync.Mutex
	all []*fileObject
}

func (s *fileStore) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
}

// file serves /v1/files and below; rest is the path after it.
func (x *exchange) file(rest string) {
	id, verb, _ := strings.Cut(rest, "/")
	get := x.req.Method == http.MethodGet
	s := &x.a.files
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" {
		switch {
		case x.req.Method == http.MethodPost:
			x.createFile(s)
		case get:
			listPage(x, len(s.all), func(i int) string { return s.all[i].ID }, func(i int) *fileObject { return s.all[i] })
		default:
			x.notAllowed()
		}
		return
	}
	at := slices.IndexFunc(s.all, func(f *fileObject) bool { return f.ID == id })
	switch {
	case at < 0:
		x.refuse(http.StatusNotFound, "File not found: "+id)
	case verb == "" && get:
		x.object200(s.all[at])
	case verb == "" && x.req.Method == http.MethodDelete:
		s.all = slices.Delete(s.all, at, at+1)
		x.object200(map[string]string{"id": id, "type": "file_deleted"})
	case verb == "content" && get:
		x.w.Header().Set("Content-Type", s.all[at].MimeType)
		x.answer(http.StatusOK, s.all[at].data)
	case verb == "" || verb == "content":
		x.notAllowed()
	default:
		x.refuse(http.StatusNotFound, "")
	}
}

func (x *exchange) createFile(s *fileStore) {
	media, params, err := mime.ParseMediaType(x.req.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		x.refuse(http.StatusBadRequest, "content-type: must be multipart/form-data")
		return
	}
	parts := multipart.NewReader(bytes.NewReader(x.req.Body), params["boundary"])
	for {
		part, err := parts.NextPart()
		if err != nil {
			x.refuse(http.StatusBadRequest, "file: Field required")
			return
		}
		if part.FormName() != "file" {
			continue
		}
		data, err := io.ReadAll(part)
		if err != nil {
			x.refuse(http.StatusBadRequest, "file: the upload is cut short")
			return
		}
		kind := part.Header.Get("Content-Type")
		if kind == "" {
			kind = "application/octet-stream"
		}
		f := &fileObject{
			ID: x.a.newID("file_"), Type: "file", Filename: part.FileName(), MimeType: kind,
			SizeBytes: len(data), CreatedAt: time.Now().UTC(), Downloadable: true, data: data,
		}
		s.all = append([]*fileObject{f}, s.all...)
		x.object200(f)
		return
	}
}
