//! Where the admin token comes from.

use std::path::PathBuf;

use domain::check_admin_token;

use super::ServeError;
use crate::DataDir;
use crate::data_dir::LocalSecret;

/// Where an administrator finds the admin token.
#[derive(Debug)]
pub(super) enum AdminToken {
    /// This start created it.
    Created { secret: LocalSecret, file: PathBuf },
    /// It is in the data folder.
    Stored { file: PathBuf },
    /// The operator set it in the environment.
    FromEnv,
}

/// Returns the admin token of this start.
pub(super) fn load(
    from_env: Option<String>,
    data_dir: &DataDir,
) -> Result<(String, AdminToken), ServeError> {
    if let Some(token) = from_env {
        check_admin_token(&token)?;
        return Ok((token, AdminToken::FromEnv));
    }
    let secret = data_dir.load_admin_token()?;
    let (value, file) = (secret.value.clone(), data_dir.admin_token_path());
    match secret.is_new {
        true => Ok((value, AdminToken::Created { secret, file })),
        false => Ok((value, AdminToken::Stored { file })),
    }
}
