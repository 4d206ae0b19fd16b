package sasl

// PreparePassword gives the form in which a password is hashed and compared.
func PreparePassword(s string) string { return s }
