//! The `changeagent` program: reads its arguments and hands over to the library.

fn main() {}
