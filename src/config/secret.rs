//! Where a secret is, and the secret itself: read at the last moment, shown nowhere.

use std::path::Path;

use secrecy::SecretString;

/// A reference to a secret: `env:NAME`, `file:PATH` or `credential:NAME` (`$CREDENTIALS_DIRECTORY/NAME`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretRef {
    Env(String),
    /// Relative to the settings file's folder.
    File(String),
    Credential(String),
}

impl SecretRef {
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, name) = text.split_once(':')?;
        let plain = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        match scheme {
            "env" if plain(name) => Some(Self::Env(name.to_owned())),
            "credential" if plain(name) && !name.starts_with('.') => Some(Self::Credential(name.to_owned())),
            "file" if !name.is_empty() => Some(Self::File(name.to_owned())),
            _ => None,
        }
    }

    /// Reads the secret. A trailing line end is not part of it. Files that group or others can read, and credentials
    /// that others can read, are refused (systemd shows the access list of a credential as group-readable).
    ///
    /// # Errors
    /// One sentence that names the reference, never the value.
    pub fn read(&self, folder: &Path) -> Result<SecretString, String> {
        match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(value) if !value.is_empty() => Ok(SecretString::from(value)),
                _ => Err(format!("the environment variable {name} is not set")),
            },
            Self::File(path) => read_file(&folder.join(path), 0o077),
            Self::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(dir) => read_file(&credential_file(Path::new(&dir), name), 0o027),
                None => Err(format!(
                    "credential {name} is wanted but $CREDENTIALS_DIRECTORY is not set; use LoadCredential= in the unit"
                )),
            },
        }
    }
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

/// The file itself, or the name systemd gives it when a unit loads a whole folder (`LoadCredential=reconciled:FOLDER`).
fn credential_file(dir: &Path, name: &str) -> std::path::PathBuf {
    let (own, of_folder) = (dir.join(name), dir.join(format!("reconciled_{name}")));
    match !own.exists() && of_folder.exists() {
        true => of_folder,
        false => own,
    }
}

/// `refused`: permission bits that must not be set.
fn read_file(path: &Path, refused: u32) -> Result<SecretString, String> {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(|e| format!("the secret file {shown} cannot be read: {}", e.kind()))?;
    if !meta.is_file() {
        return Err(format!("the secret file {shown} is not a regular file"));
    }
    if meta.permissions().mode() & refused != 0 {
        return Err(format!(
            "the secret file {shown} is open to others; run `chmod 600 {shown}`"
        ));
    }
    let text =
        std::fs::read_to_string(path).map_err(|e| format!("the secret file {shown} cannot be read: {}", e.kind()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(format!("the secret file {shown} is empty"));
    }
    Ok(SecretString::from(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_three_forms_are_references() {
        for good in ["env:NAME", "file:secrets/key", "credential:tupay-access-key"] {
            assert_eq!(SecretRef::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "key",
            "env:",
            "env:A B",
            "file:",
            "credential:../x",
            "credential:.x",
            "vault:x",
            "ENV:X",
        ] {
            assert_eq!(SecretRef::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_file_that_others_can_read_is_refused_and_its_line_end_is_no_part_of_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("key");
        let secret = SecretRef::File("key".to_owned());
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(secret.read(folder.path()).unwrap_err().contains("cannot be read"));
        std::fs::write(&path, "hunter2\r\n").unwrap();
        for open in [0o640, 0o604, 0o644] {
            mode(open);
            let why = secret.read(folder.path()).unwrap_err();
            assert!(why.contains("chmod 600") && !why.contains("hunter2"), "{why}");
        }
        mode(0o600);
        assert_eq!(secret.read(folder.path()).unwrap().expose_secret(), "hunter2");
        std::fs::write(&path, "\n").unwrap();
        assert!(secret.read(folder.path()).unwrap_err().contains("is empty"));
    }
}
