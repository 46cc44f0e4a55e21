package emf

import "strconv"

// begin starts a line, up to the function's set of dimensions.
func (w *Writer) begin() {
	w.line = append(w.line[:0], `{"_aws":{"Timestamp":`...)
	w.line = strconv.AppendInt(w.line, w.now().UnixMilli(), 10)
	w.line = append(w.line, `,"CloudWatchMetrics":[`...)
	w.directive()
	w.defs, w.values = w.defs[:0], w.values[:0]
}

// end closes the directives, adds the members that they refer to, and writes the line.
func (w *Writer) end() {
	w.line = append(w.line, `]}]}`...)
	w.line = append(w.line, w.tail...)
	w.line = append(w.line, w.values...)
	w.line = append(w.line, '}', '\n')
	if _, err := w.w.Write(w.line); err != nil && w.err == nil {
		w.err = err
	}
}

// directive starts a MetricDirective, up to the function's set of dimensions.
func (w *Writer) directive() {
	w.line = append(w.line, `{"Namespace":`...)
	w.line = append(w.line, w.name...)
	w.line = append(w.line, `,"Dimensions":[["Function"]`...)
}

// define adds a metric to the directive, and the name of its member; the caller appends the value.
func (w *Writer) define(name, unit string) {
	if len(w.defs) > 0 {
		w.defs = append(w.defs, ',')
	}
	w.defs = append(w.defs, `{"Name":"`...)
	w.defs = append(w.defs, name...)
	w.defs = append(w.defs, `","Unit":"`...)
	w.defs = append(w.defs, unit...)
	w.defs = append(w.defs, '"', '}')
	w.member(name)
}

func (w *Writer) count(name string, n int64) {
	w.define(name, "Count")
	w.values = strconv.AppendInt(w.values, n, 10)
}

// property adds a member that is text; neither part needs escapes.
func (w *Writer) property(name, value string) {
	w.member(name)
	w.values = append(w.values, '"')
	w.values = append(w.values, value...)
	w.values = append(w.values, '"')
}

// parts adds a member that tells how often each of some names came.
func (w *Writer) parts(name string, names []string, counts []int) {
	w.member(name)
	sep := byte('{')
	for i, n := range counts {
		if n == 0 {
			continue
		}
		w.values = append(w.values, sep, '"')
		w.values = append(w.values, names[i]...)
		w.values = append(w.values, '"', ':')
		w.values = strconv.AppendInt(w.values, int64(n), 10)
		sep = ','
	}
	w.values = append(w.values, '}')
}

func (w *Writer) member(name string) {
	w.values = append(w.values, ',', '"')
	w.values = append(w.values, name...)
	w.values = append(w.values, '"', ':')
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
