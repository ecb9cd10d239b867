//! What a node must have before it listens where others than this machine can reach it.

use std::net::SocketAddr;

/// One port, as it is set.
pub(super) struct Port {
    /// The flag that sets it.
    pub(super) flag: &'static str,
    pub(super) address: SocketAddr,
    /// Nothing but TLS is spoken there.
    pub(super) is_secured: bool,
    /// The flags that have it so, with the files that `tls self-signed` makes.
    pub(super) remedy: &'static str,
}

/// Checks that each port which other machines can reach speaks TLS and that a root token is set.
///
/// # Errors
/// One line that says what is missing, and by which commands it is had.
pub(super) fn check(ports: impl IntoIterator<Item = Port>, has_token: bool) -> Result<(), String> {
    for Port { flag, address, is_secured, remedy } in ports {
        if address.ip().to_canonical().is_loopback() || (is_secured && has_token) {
            continue;
        }
        let host = address.ip();
        let tls =
            format!("TLS (changeagent tls self-signed --out tls --name {host}, then {remedy})");
        let token = "a root token (umask 077; head -c 32 /dev/urandom | base64 > root-token, then \
                     --root-token-file root-token)";
        let missing: Vec<&str> = [(is_secured, tls.as_str()), (has_token, token)]
            .into_iter()
            .filter_map(|(is_there, what)| (!is_there).then_some(what))
            .collect();
        return Err(format!(
            "{flag} {address} can be reached from other machines, which needs {}; or --insecure, \
             where everybody who reaches it may do everything",
            missing.join(" and ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(address: &str, is_secured: bool, has_token: bool) -> Option<String> {
        let address = address.parse().unwrap();
        let port = Port { flag: "listen", address, is_secured, remedy: "--tls-cert tls/cert.pem" };
        check([port], has_token).err()
    }

    #[test]
    fn this_machine_needs_nothing_and_others_need_both() {
        for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(told(here, false, false), None, "{here}");
        }
        for there in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(told(there, true, true), None, "{there}");
            for (is_secured, has_token) in [(true, false), (false, true), (false, false)] {
                let told = told(there, is_secured, has_token).unwrap();
                assert_eq!(told.lines().count(), 1);
                assert_eq!(told.contains("tls self-signed"), !is_secured, "{told}");
                assert_eq!(told.contains("--root-token-file"), !has_token, "{told}");
                assert!(told.contains("--insecure"), "{told}");
            }
        }
    }
}
