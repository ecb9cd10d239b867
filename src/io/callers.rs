//! Who connects to a listener.

/// Who connects to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Other nodes: one that is silent is asked whether it lives.
    Nodes,
    /// Clients, who may be silent for as long as the node waits for them.
    Clients,
}
