//! `changeagent recover`: the last resort when a quorum of a cluster is lost for good.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use clap::Args;

use super::failure::Failure;
use crate::{
    node::replica::{Checked, Sound},
    server::{self, ExecutorChoice},
};

/// What is to be typed to go on.
const CONSENT: &str = "new cluster";

/// What to begin a cluster with.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data directory of a node that survived
    #[arg(long, env = "CHANGEAGENT_DATA", value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// What to run on: auto takes io-uring where the system allows it, else portable
    #[arg(long, env = "CHANGEAGENT_EXECUTOR", value_name = "KIND", default_value = "auto")]
    executor: ExecutorChoice,
    /// Do not ask back
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let failed = |error: server::ServerError| Failure::Other(error.to_string());
    let name = arguments.data.display();
    let sound = match server::check(&arguments.data, arguments.executor).map_err(failed)? {
        Checked::Sound(sound) => sound,
        Checked::Damaged(damage) => {
            return Err(Failure::Other(format!("{name}: {}", damage.error)));
        }
    };
    let mut out = io::stdout();
    write!(out, "{}", about(&sound)).map_err(Failure::output)?;
    if !arguments.yes && !consents(&mut out)? {
        return Err(Failure::Other("nothing was changed".into()));
    }
    let recovered = server::recover(&arguments.data, arguments.executor).map_err(failed)?;
    let text = format!(
        "{name} is cluster {} now, of node {} alone; what was there is kept in {}\n",
        recovered.cluster,
        sound.log.node,
        recovered.before.display()
    );
    write!(out, "{text}").map_err(Failure::output)
}

/// What becomes of the history, told before it is done.
fn about(sound: &Sound) -> String {
    let Sound { log, changes: (last, _), committed, halted, .. } = sound;
    let committed_index = committed.map_or(0, |id| id.index);
    let behind = log.last.map_or(0, |id| id.index).saturating_sub(committed_index);
    let mut text = format!(
        "node {} of cluster {}\n\
         kept: changes up to {last}, which this node knew to be acknowledged, and {behind} entries after \
         them, which may have been\n\
         lost: whatever the other members acknowledged without this node; nobody can tell from here \
         whether there is any\n\
         The new cluster has another identity, so clients that name their history learn of it. Never \
         start another member of the old cluster again: move its directory away, and have it join with \
         an empty one.\n",
        log.node, log.cluster
    );
    if let Some(why) = halted {
        text += &format!("This node was told not to go on: {why}\n");
    }
    text
}

/// Asks whether to go on.
fn consents(out: &mut impl Write) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Other("nobody is there to be asked: --yes goes on without".into()));
    }
    let asked = write!(out, "Type \"{CONSENT}\" if the others are lost for good: ");
    asked.and_then(|()| out.flush()).map_err(Failure::output)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Failure::file("standard input".as_ref()))?;
    Ok(answer.trim() == CONSENT)
}
