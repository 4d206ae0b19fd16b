package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return `Prints what makes the shell complete verbs and flags.

Example:
  samotop completion bash > /etc/bash_completion.d/samotop`
}

func (c *completionCmd) Run(e *env, k *kong.Kong) error {
	switch c.Shell {
	case "bash":
		return bashCompletion(e.stdout, k.Model.Node)
	case "zsh":
		if _, err := io.WriteString(e.stdout, "#compdef samotop\nautoload -U +X bashcompinit && bashcompinit\n"); err != nil {
			return err
		}
		return bashCompletion(e.stdout, k.Model.Node)
	}
	return fishCompletion(e.stdout, k.Model.Node)
}

type manCmd struct{}

func (manCmd) Help() string {
	return `Prints the manual page, made from the help of the verbs.

Example:
  samotop man > /usr/share/man/man1/samotop.1`
}

func (manCmd) Run(e *env, k *kong.Kong) error { return manual(e.stdout, k.Model) }

// eachVerb calls f with each command, its words and what may follow: verbs and flags.
func eachVerb(n *kong.Node, words []string, f func(words []string, n *kong.Node) error) error {
	if err := f(words, n); err != nil {
		return err
	}
	for _, c := range n.Children {
		if c.Hidden || c.Type != kong.CommandNode {
			continue
		}
		if err := eachVerb(c, append(words[:len(words):len(words)], c.Name), f); err != nil {
			return err
		}
	}
	return nil
}

// flagsAt lists the flags that may be given after a verb, those of the whole program included.
func flagsAt(n *kong.Node) (out []*kong.Flag) {
	for ; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if !f.Hidden {
				out = append(out, f)
			}
		}
	}
	return out
}

func bashCompletion(w io.Writer, root *kong.Node) error {
	var b strings.Builder
	b.WriteString(`# bash completion for samotop, made by "samotop completion"
_samotop() {
  local cur="${COMP_WORDS[COMP_CWORD]}" path="" word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
`)
	err := eachVerb(root, nil, func(words []string, _ *kong.Node) error {
		if len(words) > 0 {
			fmt.Fprintf(&b, "      %q) path=%q ;;\n", " "+strings.Join(words, " "), " "+strings.Join(words, " "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.WriteString("    esac\n  done\n  case \"$path\" in\n")
	err = eachVerb(root, nil, func(words []string, n *kong.Node) error {
		var next []string
		for _, c := range n.Children {
			if !c.Hidden && c.Type == kong.CommandNode {
				next = append(next, c.Name)
			}
		}
		for _, f := range flagsAt(n) {
			next = append(next, "--"+f.Name)
		}
		path := ""
		if len(words) > 0 {
			path = " " + strings.Join(words, " ")
		}
		fmt.Fprintf(&b, "    %q) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", path, strings.Join(next, " "))
		return nil
	})
	if err != nil {
		return err
	}
	b.WriteString("  esac\n}\ncomplete -o default -F _samotop samotop\n")
	_, err = io.WriteString(w, b.String())
	return err
}

func fishCompletion(w io.Writer, root *kong.Node) error {
	quoted := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	var b strings.Builder
	b.WriteString(`# fish completion for samotop, made by "samotop completion"
function __samotop_at
  set -l words (string match -v -- '-*' (commandline -opc)[2..-1])
  test "$words" = "$argv"
end
function __samotop_in
  set -l words (string match -v -- '-*' (commandline -opc)[2..-1])
  string match -q -- "$argv*" "$words"
end
`)
	err := eachVerb(root, nil, func(words []string, n *kong.Node) error {
		at := strings.Join(words, " ")
		for _, c := range n.Children {
			if !c.Hidden && c.Type == kong.CommandNode {
				fmt.Fprintf(&b, "complete -c samotop -f -n %s -a %s -d %s\n", quoted("__samotop_at "+at), c.Name, quoted(c.Help))
			}
		}
		for _, f := range n.Flags {
			if !f.Hidden {
				fmt.Fprintf(&b, "complete -c samotop -n %s -l %s -d %s\n", quoted("__samotop_in "+at), f.Name, quoted(f.Help))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// roff writes text for a manual page: a line must not begin with a control character.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// manual writes the page of all verbs.
func manual(w io.Writer, app *kong.Application) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH SAMOTOP 1 \"\" %q \"User commands\"\n.SH NAME\nsamotop \\- a complete mail system\n.SH SYNOPSIS\n.B samotop\n.I VERB\n[ARGUMENTS]\n.SH DESCRIPTION\n%s\n.SH VERBS\n",
		"samotop "+buildVersion(), roff(app.Help))
	err := eachVerb(app.Node, nil, func(words []string, n *kong.Node) error {
		if len(words) == 0 || !n.Leaf() {
			return nil
		}
		fmt.Fprintf(&b, ".SS %s\n%s\n", roff(strings.TrimPrefix(n.Summary(), "samotop ")), roff(n.Help))
		if n.Detail != "" {
			fmt.Fprintf(&b, ".PP\n.nf\n%s\n.fi\n", roff(n.Detail))
		}
		for _, p := range n.Positional {
			fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(p.Summary()), roff(p.Help))
		}
		for _, f := range n.Flags {
			if !f.Hidden {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(f.String()), roff(f.Help))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong use\n")
	_, err = io.WriteString(w, b.String())
	return err
}
