//! Holds the structure of `src/` against its rules, from the source itself:
//! imports point down, no file stands in a circle, what other nodes ask is told apart in one
//! place, files and functions are short, and what is said to hold is asserted; and the dependencies
//! against `deny.toml`. The links of the documents lead somewhere, too.

#[cfg(test)]
mod circles;
#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod order;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod size;
#[cfg(test)]
mod source;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod unsafe_code;
