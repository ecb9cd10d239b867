//! What a node must have before it listens where others than this machine can reach it.

use std::net::SocketAddr;

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Plain,
    /// TLS, and plain TCP by those that do not speak it.
    Both,
    Tls,
}

/// One port, as it is set.
pub(super) struct Port {
    /// The flag that sets it.
    pub(super) flag: &'static str,
    pub(super) address: SocketAddr,
    pub(super) spoken: Spoken,
    /// It is one of a cluster: its nodes need certificates of one root.
    pub(super) is_of_cluster: bool,
    /// The flags that have TLS spoken there, with the files that `tls self-signed` makes.
    pub(super) remedy: &'static str,
}

/// How a root token is had.
const TOKEN: &str = "a root token ((umask 077; head -c 32 /dev/urandom | base64 > root-token), then \
                     --root-token-file root-token)";

/// Checks that each port which other machines can reach speaks nothing but TLS and that a root token is set.
///
/// # Errors
/// One line that says what is missing, and by which commands it is had.
pub(super) fn check(ports: impl IntoIterator<Item = Port>, has_token: bool) -> Result<(), String> {
    for port in ports {
        let Port { flag, address, spoken, .. } = port;
        if address.ip().to_canonical().is_loopback() || (spoken == Spoken::Tls && has_token) {
            continue;
        }
        let reached = format!("{flag} {address} can be reached from other machines");
        let optional =
            "--cluster-tls-optional lets nodes speak plainly: leave it out, or add --insecure";
        let tls = match spoken {
            Spoken::Both if has_token => return Err(format!("{reached}, and {optional}")),
            Spoken::Both => Some(format!("TLS alone ({optional})")),
            Spoken::Plain => Some(port.tls()),
            Spoken::Tls => None,
        };
        let token = (!has_token).then(|| TOKEN.to_owned());
        let missing: Vec<String> = tls.into_iter().chain(token).collect();
        return Err(format!(
            "{reached}, which needs {}; or --insecure, where everybody who reaches it may do everything",
            missing.join(" and ")
        ));
    }
    Ok(())
}

impl Port {
    /// How TLS is had there.
    fn tls(&self) -> String {
        let Self { address, remedy, .. } = self;
        let make = "changeagent tls self-signed --out tls";
        match (self.is_of_cluster, address.ip()) {
            (true, _) => format!(
                "TLS (one pair for all nodes: {make} --name HOST1 --name HOST2 --name HOST3, copied to each, \
                 then {remedy})"
            ),
            (false, ip) if ip.is_unspecified() => {
                format!("TLS ({make} --name NAME-THAT-CLIENTS-USE, then {remedy})")
            }
            (false, ip) => format!("TLS ({make} --name {ip}, then {remedy})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(address: &str, spoken: Spoken) -> Port {
        let address = address.parse().unwrap();
        let remedy = "--tls-cert tls/cert.pem";
        Port { flag: "listen", address, spoken, is_of_cluster: false, remedy }
    }

    fn told(address: &str, spoken: Spoken, has_token: bool) -> Option<String> {
        check([port(address, spoken)], has_token).err()
    }

    #[test]
    fn this_machine_needs_nothing_and_others_need_both() {
        for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(told(here, Spoken::Plain, false), None, "{here}");
        }
        for there in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(told(there, Spoken::Tls, true), None, "{there}");
            for spoken in [Spoken::Plain, Spoken::Both, Spoken::Tls] {
                for has_token in [false, true] {
                    let Some(told) = told(there, spoken, has_token) else { continue };
                    assert_eq!(told.lines().count(), 1);
                    assert_eq!(told.contains("tls self-signed"), spoken == Spoken::Plain, "{told}");
                    assert_eq!(told.contains("tls-optional"), spoken == Spoken::Both, "{told}");
                    assert_eq!(told.contains("--root-token-file"), !has_token, "{told}");
                    assert!(told.contains("--insecure"), "{told}");
                }
            }
        }
    }

    #[test]
    fn the_commands_that_are_told_make_what_is_needed() {
        for (address, name) in [
            ("10.0.0.1:1", "--name 10.0.0.1, then"),
            ("[fe80::1]:1", "--name fe80::1, then"),
            ("0.0.0.0:1", "--name NAME-THAT-CLIENTS-USE, then"),
            ("[::]:1", "--name NAME-THAT-CLIENTS-USE, then"),
        ] {
            let told = told(address, Spoken::Plain, false).unwrap();
            assert!(told.contains(name), "{told}");
            // The mask is that of the one command alone.
            assert!(told.contains("(umask 077; head -c 32 /dev/urandom | base64 > root-token)"));
        }
        // A root for each node would be none that the others trust.
        let port = Port { is_of_cluster: true, ..port("10.0.0.1:1", Spoken::Plain) };
        let told = check([port], true).unwrap_err();
        let want = "one pair for all nodes: changeagent tls self-signed --out tls --name HOST1 --name HOST2 \
                    --name HOST3, copied to each, then --tls-cert";
        assert!(told.contains(want), "{told}");
    }
}
