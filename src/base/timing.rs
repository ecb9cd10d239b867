//! How long things may take. Waits that stand one in another are proved to nest: what
//! is waited for inside is given up before whoever waits outside gives up.

use std::time::Duration;

/// How often it is looked whether this node can lead.
pub const HEALTH_LOOK: Duration = Duration::from_millis(200);
/// A disk on which nothing became durable for so long, while something waited to, is
/// taken for one that does not answer.
pub const DISK_SILENCE: Duration = Duration::from_secs(3);
/// How long another voter may take to say whether it can lead.
pub const HEALTH_ANSWER: Duration = Duration::from_millis(500);
/// How long a leader may lack a further segment before it looks for another leader: a
/// moment without descriptors is no reason.
pub const NO_SEGMENT_PATIENCE: Duration = Duration::from_secs(1);
/// How long a node without room leaves it to others to lead, when nobody does.
pub const NO_SEGMENT_DEFERENCE: Duration = Duration::from_secs(4);
/// How often a leader that ails looks for another.
pub const RELIEF_RETRY: Duration = Duration::from_secs(1);
/// How long another node may take to take over leadership when it is told to.
pub const TAKE_OVER: Duration = Duration::from_secs(2);
