package root

import (
	"net/http"

	"sluice/shared/lambdahttp"
	"sluice/shared/web"
)

// Placed tells h what stands before its paths in the public address, which only the event knows.
func Placed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inv, ok := lambdahttp.FromContext(r.Context()); ok && inv.Prefix != "" {
			r = r.WithContext(web.WithPrefix(r.Context(), inv.Prefix))
		}
		h.ServeHTTP(w, r)
	})
}
