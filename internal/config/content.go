package config

// Content says who has an opinion on the content of mail.
type Content struct {
	LearnOff      bool    `json:",omitzero"` // the learning filter is not asked; it learns all the same
	LearnWeight   float64 `json:",omitzero"` // points of its surest verdict; 0: the default
	LearnMessages int64   `json:",omitzero"` // of each kind before it is asked; 0: the default
}

type rawContent struct {
	Learn         *bool    `toml:"learn"`
	LearnWeight   *float64 `toml:"learn_weight"`
	LearnMessages *int64   `toml:"learn_messages"`
}

func (r *rawContent) merge(later *rawContent) {
	over(&r.Learn, later.Learn)
	over(&r.LearnWeight, later.LearnWeight)
	over(&r.LearnMessages, later.LearnMessages)
}

// content reads what [guard] says of content.
func (l *loader) content(r *rawContent) (c Content) {
	c.LearnOff = r.Learn != nil && !*r.Learn
	if r.LearnWeight != nil && (*r.LearnWeight <= 0 || *r.LearnWeight > 1000) {
		l.fault("guard.learn_weight", "write points such as 6, or learn = false", "%g adds nothing to the score", *r.LearnWeight)
	}
	c.LearnWeight = value(r.LearnWeight)
	c.LearnMessages = l.limit("guard.learn_messages", value(r.LearnMessages), r.LearnMessages != nil, 1, 1_000_000)
	return c
}
