package junk

import (
	"math"
	"slices"
)

// Counts is in how many messages a token was.
type Counts struct{ Ham, Spam uint32 }

// Knowledge is what somebody has learned: in how many messages, and for each token of a message in how many of these.
type Knowledge struct {
	Ham, Spam uint32
	Of        []Counts // as Tokens.List; nil: nothing is known
}

// Verdict is what a message looks like.
type Verdict struct {
	Known   bool    // enough was learned to say anything
	Score   float64 // 0: wanted, 1: unwanted, 0.5: no idea
	Reasons []Reason
}

// Reason is one token and how likely mail with it is unwanted.
type Reason struct {
	Text string
	P    float64
}

// Classifier holds what may be tuned. The zero value is good.
type Classifier struct {
	MinMessages uint32  // of each kind that must have been learned, by the account or by all; 0: 20
	Strongest   int     // tokens that count, the strongest of them; 0: 150
	MinStrength float64 // distance from 0.5 below which a token does not count; 0: 0.1
	Reasons     int     // told with a verdict; 0: 8
}

func (c Classifier) withDefaults() Classifier {
	if c.MinMessages == 0 {
		c.MinMessages = DefaultMinMessages
	}
	if c.Strongest <= 0 {
		c.Strongest = 150
	}
	if c.MinStrength <= 0 {
		c.MinStrength = 0.1
	}
	if c.Reasons <= 0 {
		c.Reasons = 8
	}
	return c
}

// How much what was believed before weighs against what was counted, in messages: a token never seen is at 0.5, and what
// all accounts know of a token weighs at most as much as so many messages of one's own.
const (
	unknownWeight = 0.45
	sharedWeight  = 3
)

// Knows reports whether enough was learned to say anything: so many messages of each kind, by the account or by all.
func (c Classifier) Knows(own, shared Knowledge) bool {
	least := c.withDefaults().MinMessages
	return max(own.Ham, shared.Ham) >= least && max(own.Spam, shared.Spam) >= least // the shared ones may be the own
}

// Classify weighs a message by what its account learned and what all did.
func (c Classifier) Classify(t *Tokens, own, shared Knowledge) Verdict {
	c = c.withDefaults()
	if !c.Knows(own, shared) {
		return Verdict{Score: 0.5}
	}
	clues := make([]clue, 0, len(t.List))
	for i := range t.List {
		p := 0.5
		weight := unknownWeight
		if shared.Of != nil {
			var n float64
			p, n = blend(shared.Of[i], shared.Ham, shared.Spam, p, weight)
			weight += min(n, sharedWeight)
		}
		if own.Of != nil {
			p, _ = blend(own.Of[i], own.Ham, own.Spam, p, weight)
		}
		if d := math.Abs(p - 0.5); d >= c.MinStrength {
			clues = append(clues, clue{i, p, d})
		}
	}
	slices.SortFunc(clues, func(a, b clue) int {
		if a.strength != b.strength {
			if a.strength > b.strength {
				return -1
			}
			return 1
		}
		return a.at - b.at
	})
	v := Verdict{Known: true, Score: fisher(clues[:min(len(clues), c.Strongest)])}
	for _, x := range clues {
		if len(v.Reasons) == c.Reasons {
			break
		}
		if (x.p > 0.5) == (v.Score > 0.5) { // what speaks for the verdict
			v.Reasons = append(v.Reasons, Reason{t.Text(x.at), x.p})
		}
	}
	return v
}

type clue struct {
	at          int
	p, strength float64
}

// blend is Robinson's f(w): what was counted, held back by what was believed before. n is how many messages had the token.
func blend(of Counts, ham, spam uint32, believed, weight float64) (p, n float64) {
	n = float64(of.Ham) + float64(of.Spam)
	if n == 0 || ham == 0 || spam == 0 {
		return believed, 0
	}
	h, s := min(1, float64(of.Ham)/float64(ham)), min(1, float64(of.Spam)/float64(spam))
	return (weight*believed + n*(s/(h+s))) / (weight + n), n
}

// fisher combines the likelihoods: 0 for wanted, 1 for unwanted, 0.5 where they say nothing or contradict each other.
func fisher(clues []clue) float64 {
	if len(clues) == 0 {
		return 0.5
	}
	var h, s float64
	for _, x := range clues {
		p := min(max(x.p, 1e-4), 1-1e-4)
		s += math.Log(1 - p)
		h += math.Log(p)
	}
	spam := 1 - chi2Q(-2*s, 2*len(clues))
	ham := 1 - chi2Q(-2*h, 2*len(clues))
	return (spam - ham + 1) / 2
}

// chi2Q is the chance that chi-square with an even number of degrees of freedom is at least x.
func chi2Q(x float64, degrees int) float64 {
	m := x / 2
	if m > 700 { // exp would be 0 while the sum is large: go by logarithms
		return chi2QLog(m, degrees)
	}
	term := math.Exp(-m)
	sum := term
	for i := 1; i < degrees/2; i++ {
		term *= m / float64(i)
		sum += term
	}
	return min(sum, 1)
}

func chi2QLog(m float64, degrees int) float64 {
	log := -m
	sum := 0.0
	for i := 1; i < degrees/2; i++ {
		log += math.Log(m / float64(i))
		sum += math.Exp(log)
	}
	return min(sum, 1)
}

// Classify is Classifier{}.Classify.
func Classify(t *Tokens, own, shared Knowledge) Verdict { return Classifier{}.Classify(t, own, shared) }

// DefaultSpam is the score from which a message counts as unwanted: what the proof in this package is about.
const DefaultSpam = 0.95

// DefaultMinMessages is how many messages of each kind must have been learned before anything is said.
const DefaultMinMessages = 20
