package config

import (
	"reflect"
	"strings"
)

// nearest says which setting may have been meant by an unknown one.
func nearest(key string) string {
	known := keys(reflect.TypeFor[raw](), "")
	best, distance := "", 1+len(key)/3
	for _, k := range known {
		if d := edits(key, k); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	table, _, ok := strings.Cut(key, ".")
	var same []string
	for _, k := range known {
		if t, name, dotted := strings.Cut(k, "."); ok && dotted && t == table {
			same = append(same, name)
		}
	}
	if len(same) > 0 {
		return "[" + table + "] has " + strings.Join(same, ", ")
	}
	return "the tables are [tls], [tls.acme], [dns], [mta], [msa], [mailbox], [guard], [journal], [reports], [qm], [[qm.route]], [https], [links]"
}

// keys lists the settings of a struct by its tags.
func keys(t reflect.Type, prefix string) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("toml")
		if tag == "" {
			continue
		}
		switch f.Type.Kind() {
		case reflect.Struct:
			out = append(out, keys(f.Type, prefix+tag+".")...)
		case reflect.Slice:
			out = append(out, keys(f.Type.Elem(), prefix+tag+".")...)
		default:
			out = append(out, prefix+tag)
		}
	}
	return out
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
