//! `changeagent upgrade-check`: whether this program may take the place of those that run, node by node.

use std::{io::Write as _, time::Duration};

use clap::Args;
use serde::Deserialize;

use super::{
    cluster::{Cluster, Member},
    failure::Failure,
    node::{JSON, Node, NodeArguments},
};
use crate::base::protocol::{VERSIONS, Versions};

/// A member that has nothing to say for so long is not well.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Of which cluster.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
}

/// What a node says of its program.
#[derive(Debug, Deserialize)]
struct Program {
    version: String,
    protocol: Option<Versions>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let node = Node::with_patience(&arguments.node, 0, SILENCE_MAX)?;
    let cluster = Cluster::ask(&node)?;
    let mut unfit = 0;
    let mut out = std::io::stdout().lock();
    let mut say = |text: String| writeln!(out, "{text}").map_err(Failure::output);
    for member in &cluster.members {
        let place = member.address.as_deref().unwrap_or("no address");
        let finding = look(&node, &cluster, member);
        unfit += usize::from(finding.is_err());
        let finding = match finding {
            Ok(text) => text,
            Err(why) => format!("NO: {why}"),
        };
        say(format!("node {} at {place}: {finding}", member.id))?;
    }
    let own = format!("ChangeAgent {}, protocol {VERSIONS}", env!("CARGO_PKG_VERSION"));
    if unfit > 0 || cluster.members.is_empty() {
        let (all, node) = (cluster.members.len(), if unfit == 1 { "member" } else { "members" });
        return Err(Failure::Other(format!(
            "this program ({own}) may not take their place now, for {unfit} {node} of {all}"
        )));
    }
    say(format!("this program ({own}) may take their place, one node after the other"))
}

/// What a member runs.
///
/// # Errors
/// Why it stands in the way.
fn look(node: &Node, cluster: &Cluster, member: &Member) -> Result<String, String> {
    let url = match cluster.node == Some(member.id) {
        true => node.url().clone(),
        false => {
            member.url(node.url().is_secured()).ok_or("its address for clients is not known")?
        }
    };
    let node = node.witness(url);
    let answer = node.get("/", JSON).and_then(|answer| answer.bytes());
    let answer = answer.map_err(|failure| failure.to_string())?;
    let program: Program =
        serde_json::from_slice(&answer).map_err(|error| format!("not a ChangeAgent: {error}"))?;
    let (version, newest) = fit(VERSIONS, &program)?;
    // A node that is not well is mended first: another one that restarts may cost the quorum.
    node.get("/ready", JSON).map_err(|failure| failure.to_string())?;
    Ok(format!("ChangeAgent {version}, they would speak version {newest}"))
}

/// The version of that program, and the one of the protocol in which it and one that speaks `own` would talk.
fn fit(own: Versions, program: &Program) -> Result<(&str, u32), String> {
    let version = &program.version;
    let Some(theirs) = program.protocol else {
        return Err(format!("ChangeAgent {version} does not say which protocol it speaks"));
    };
    let common = own.common(theirs).ok_or_else(|| {
        format!("ChangeAgent {version} speaks protocol {theirs}, and this program {own}")
    })?;
    Ok((version, common))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(text: &str) -> Program {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn programs_fit_that_have_a_version_in_common() {
        let own = Versions { oldest: 8, newest: 10 };
        let with = |oldest, newest| {
            let text = format!(
                r#"{{"version":"1.2.0","protocol":{{"oldest":{oldest},"newest":{newest}}},"x":1}}"#
            );
            fit(own, &program(&text)).map(|(version, common)| (version.to_owned(), common))
        };
        let version = || "1.2.0".to_owned();
        assert_eq!(with(7, 8), Ok((version(), 8)));
        assert_eq!(with(10, 12), Ok((version(), 10)));
        let why = "ChangeAgent 1.2.0 speaks protocol 7, and this program 8 to 10";
        assert_eq!(with(7, 7), Err(why.to_owned()));
        assert_eq!(with(11, 11).map_err(|why| why.contains("protocol 11")), Err(true));
        let silent = program(r#"{"version":"0.1.0"}"#);
        let why = "ChangeAgent 0.1.0 does not say which protocol it speaks";
        assert_eq!(fit(own, &silent), Err(why.to_owned()));
    }
}
