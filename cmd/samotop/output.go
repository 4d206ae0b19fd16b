package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// jsonFlag is taken by the verbs that show things.
type jsonFlag struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// printJSON prints one thing.
func printJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// table shows a list as columns, or as a JSON array of one element a line. Nothing is held but a few rows.
type table[T any] struct {
	w    io.Writer
	json bool
	tab  *tabwriter.Writer
	head string
	row  func(T) string
	n    int
}

func newTable[T any](w io.Writer, asJSON bool, head string, row func(T) string) *table[T] {
	return &table[T]{w: w, json: asJSON, tab: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0), head: head, row: row}
}

const flushRows = 1000 // columns are aligned within so many rows

func (t *table[T]) add(v T) error {
	t.n++
	if t.json {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		sep := ",\n  "
		if t.n == 1 {
			sep = "[\n  "
		}
		_, err = io.WriteString(t.w, sep+string(b))
		return err
	}
	if t.n == 1 {
		if _, err := fmt.Fprintln(t.tab, strings.ToUpper(t.head)); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(t.tab, t.row(v)); err != nil {
		return err
	}
	if t.n%flushRows == 0 {
		return t.tab.Flush()
	}
	return nil
}

// end finishes the list; err is what ended it.
func (t *table[T]) end(err error) error {
	switch {
	case !t.json:
		if ferr := t.tab.Flush(); err == nil {
			err = ferr
		}
	case t.n == 0 && err == nil:
		_, err = io.WriteString(t.w, "[]\n")
	case t.n > 0:
		if _, werr := io.WriteString(t.w, "\n]\n"); err == nil {
			err = werr
		}
	}
	return err
}

// octets prints a size for people.
func octets(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func quota(n int64) string {
	if n == 0 {
		return "none"
	}
	return octets(n)
}
