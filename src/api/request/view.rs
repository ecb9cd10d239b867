//! Whose view of the cluster a request asks for.

use super::parameter::{check_none, once, unknown};
use crate::{api::error::ApiError, http::Request};

/// Whose view of the cluster is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::api) enum View {
    /// The leader's, where it is known.
    #[default]
    Leader,
    /// That of the node which answers.
    Local,
}

impl View {
    /// Reads the parameter `view`, the only one of what is about the cluster; other resources of the
    /// node have none.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`](crate::api::error::Code::InvalidParameter), which names the parameter.
    pub(in crate::api) fn read(
        request: &Request,
        is_about_the_cluster: bool,
    ) -> Result<Self, ApiError> {
        match is_about_the_cluster {
            true => Self::of(request.query()),
            false => check_none(request).map(|()| Self::default()),
        }
    }

    fn of<'q>(pairs: impl IntoIterator<Item = (&'q str, &'q str)>) -> Result<Self, ApiError> {
        let mut view = None;
        for (name, value) in pairs {
            match name {
                "view" => once(&mut view, "view", value, |value| match value {
                    "leader" => Ok(Self::Leader),
                    "local" => Ok(Self::Local),
                    _ => Err("leader or local"),
                })?,
                _ => return Err(unknown(name)),
            }
        }
        Ok(view.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_the_leaders_or_local() {
        assert_eq!(View::of([]).unwrap(), View::Leader);
        assert_eq!(View::of([("view", "leader")]).unwrap(), View::Leader);
        assert_eq!(View::of([("view", "local")]).unwrap(), View::Local);
        let wrong = [("view", "mine"), ("x", "1")].map(|pair| View::of([pair]));
        assert!(wrong.iter().all(Result::is_err));
        assert!(View::of([("view", "local"), ("view", "local")]).is_err());
    }
}
