package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// ErrNone: the directory holds no house.
var ErrNone = errors.New("there is no " + FileName)

// Load reads the configuration of the house in dir. What is wrong with its text comes back as Faults, a directory
// without a house as an error that wraps ErrNone.
func Load(dir string) (*Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	l := loader{dir: dir, at: map[string]place{}}
	main := filepath.Join(dir, FileName)
	switch err := l.file(main); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w; make a house there with \"samotop quickstart --dir %s ADDRESS\", or name another with --dir", dir, ErrNone, dir)
	case err != nil:
		return nil, err
	}
	names, err := dropIns(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := l.file(name); err != nil {
			return nil, err
		}
	}
	c := l.check()
	if len(l.faults) > 0 {
		order := func(f Fault) int { return slices.Index(l.files, f.File) }
		slices.SortStableFunc(l.faults, func(a, b Fault) int {
			return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Line, b.Line))
		})
		return nil, l.faults
	}
	return c, nil
}

// dropIns lists DIR/samotop.d/*.toml in name order, without hidden files.
func dropIns(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, DropInDir)) // in name order
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".toml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(dir, DropInDir, e.Name()))
		}
	}
	if len(names) > MaxDropIns {
		return nil, fmt.Errorf("%s: %d files, more than the %d that are read", filepath.Join(dir, DropInDir), len(names), MaxDropIns)
	}
	return names, nil
}

// loader gathers the files, where each key was last set, and what is wrong.
type loader struct {
	dir    string
	files  []string
	raw    raw
	routes []rawRoute // of drop-ins, in order; those of the main file follow
	at     map[string]place
	faults Faults
}

func (l *loader) file(name string) error {
	text, err := read(name)
	if err != nil {
		return err
	}
	l.files = append(l.files, name)
	var r raw
	dec := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		l.syntax(name, err)
		return nil
	}
	lines, routes := index(text)
	for key, line := range lines {
		l.at[key] = place{name, line}
	}
	for i := range r.QM.Route {
		r.QM.Route[i].at = place{file: name}
		if i < len(routes) {
			r.QM.Route[i].at.line = routes[i]
		}
	}
	if len(l.files) > 1 {
		l.routes = append(l.routes, r.QM.Route...)
	} else {
		l.raw.QM = r.QM
	}
	l.raw.merge(&r)
	return nil
}

func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFileOctets+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxFileOctets {
		return nil, fmt.Errorf("%s: longer than the %d octets that are read", name, MaxFileOctets)
	}
	return text, nil
}

// syntax records what the decoder found.
func (l *loader) syntax(name string, err error) {
	var unknown *toml.StrictMissingError
	var bad *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		for i := range unknown.Errors {
			e := &unknown.Errors[i]
			line, _ := e.Position()
			key := strings.Join(e.Key(), ".")
			l.faults = append(l.faults, Fault{name, line, key, "there is no such setting", nearest(key)})
		}
	case errors.As(err, &bad):
		line, _ := bad.Position()
		l.faults = append(l.faults, Fault{name, line, strings.Join(bad.Key(), "."),
			strings.TrimPrefix(bad.Error(), "toml: "), "correct the line"})
	default:
		l.faults = append(l.faults, Fault{File: name, What: strings.TrimPrefix(err.Error(), "toml: "), Remedy: "correct the file"})
	}
}

// index tells on which line each key of a valid document is set, and on which each [[qm.route]] begins.
func index(text []byte) (lines map[string]int, routes []int) {
	lines = map[string]int{}
	var p unstable.Parser
	p.Reset(text)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		name, line := "", 0
		for it := e.Key(); it.Next(); {
			n := it.Node()
			if line == 0 {
				line = p.Shape(n.Raw).Start.Line
			}
			name = strings.TrimPrefix(name+"."+string(n.Data), ".")
		}
		switch e.Kind {
		case unstable.Table:
			table = name
		case unstable.ArrayTable:
			table = name
			if name == "qm.route" {
				routes = append(routes, line)
			}
		case unstable.KeyValue:
			full := strings.TrimPrefix(table+"."+name, ".")
			lines[full] = line
			inline(full, line, e.Value(), lines)
		}
	}
	return lines, routes
}

// inline records the keys of an inline table.
func inline(prefix string, line int, n *unstable.Node, lines map[string]int) {
	if n.Kind != unstable.InlineTable {
		return
	}
	for it := n.Children(); it.Next(); {
		kv, name := it.Node(), prefix
		for k := kv.Key(); k.Next(); {
			name += "." + string(k.Node().Data)
		}
		lines[name] = line
	}
}
