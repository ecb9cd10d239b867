//! What it means when a request got no answer.

use std::io;

use ureq::Timeout;

use super::failure::Failure;
use crate::server::disagreement;

/// Why a request failed to which there was no answer.
pub(super) fn failure(request: String, error: &ureq::Error) -> Failure {
    match disagreement(error) {
        // No request was taken up, and none will be.
        Some(why) => Failure::Other(format!("{request}: {why}")),
        None => {
            let sent = !was_refused(error);
            Failure::Broken { request, reason: reason(error), sent }
        }
    }
}

/// Whether there was no connection to send a request on.
fn was_refused(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        _ => false,
    }
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => "no connection in time".into(),
        ureq::Error::Timeout(_) => "no answer in time".into(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription::CertificateRequired, CertificateError};

    use super::*;

    fn told(error: rustls::Error) -> Failure {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        failure("GET /".into(), &ureq::Error::Io(error))
    }

    #[test]
    fn where_tls_was_not_agreed_on_nothing_happened_and_nothing_is_tried_again() {
        use rustls::Error::{AlertReceived, InvalidCertificate};
        for (error, words) in [
            (InvalidCertificate(CertificateError::UnknownIssuer), "give --ca FILE"),
            (InvalidCertificate(CertificateError::BadSignature), "give --ca FILE"),
            (InvalidCertificate(CertificateError::Expired), "its certificate is not good"),
            (AlertReceived(CertificateRequired), "give --client-cert and --client-key"),
        ] {
            let failure = told(error);
            assert!(failure.to_string().contains(words), "{failure}");
            assert!(!failure.may_pass() && !failure.is_doubtful(), "{failure}");
        }
        let other = told(rustls::Error::DecryptError);
        assert!(other.may_pass() && other.is_doubtful(), "{other}");
    }
}
