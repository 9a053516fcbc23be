//! The data folder, changed by other users of the machine or by mistakes of the operator.
//! Each test starts the real command on a folder and reads its output.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::kill::{Killable, agent, serve};
use crate::support::{FakeModel, PROGRAM, client};

/// No user has this id on any system.
const ANOTHER_USER: u32 = 54_321;

/// The error of a server that must refuse to start in this folder. A server that starts is stopped.
fn refusal(folder: &Path) -> String {
    refusal_of(serve(folder))
}

fn refusal_of(mut command: Command) -> String {
    command
        .env_remove("AGENT_WEBHOOKS_ADMIN_TOKEN")
        .stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    if let Some(line) = lines.find(|line| line.starts_with("listening on ")) {
        process.kill().unwrap();
        process.wait().unwrap();
        panic!("the server started: {line}");
    }
    let output = process.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    message
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Only root can give a file away.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn list_agents(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["agent", "list", "--data-dir"]).arg(folder);
    command
        .env_remove("AGENT_WEBHOOKS_ADMIN_TOKEN")
        .env_remove("AGENT_WEBHOOKS_URL");
    command
}

#[test]
fn only_the_owner_can_read_a_new_folder() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("data");
    let mut server = Killable::start_with(&mut serve(&folder));
    server.kill();
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_folder_that_others_can_write_is_refused_with_the_command_to_fix_it() {
    let folder = TempDir::new().unwrap();
    fs::write(
        folder.path().join("admin-token"),
        "planted-by-another-user\n",
    )
    .unwrap();
    for writable in [0o777, 0o770, 0o707, 0o1777] {
        set_mode(folder.path(), writable);
        let message = refusal(folder.path());
        assert!(message.contains("Other users can write to"), "{message}");
        assert!(
            message.contains(&format!("chmod go-w '{}'", folder.path().display())),
            "{message}"
        );
        assert!(
            !folder.path().join("signing-secret").exists(),
            "no file was created"
        );
    }
    set_mode(folder.path(), 0o755);
    Killable::start_with(&mut serve(folder.path())).kill();
}

/// The real command, run by root as another user.
fn serve_as_another_user(folder: &Path) -> Command {
    let mut command = serve(folder);
    command.uid(ANOTHER_USER);
    command
}

/// Only root can, and only if the program is in a folder that other users can read.
fn can_run_as_another_user() -> bool {
    is_root()
        && Command::new(PROGRAM)
            .arg("--version")
            .uid(ANOTHER_USER)
            .output()
            .is_ok()
}

#[test]
fn a_folder_of_another_user_is_refused() {
    if !can_run_as_another_user() {
        return;
    }
    let folder = TempDir::new().unwrap();
    chown(folder.path(), Some(ANOTHER_USER + 1), None).unwrap();
    set_mode(folder.path(), 0o755);
    let message = refusal_of(serve_as_another_user(folder.path()));
    assert!(
        message.contains("belongs to user 54322") && message.contains("sudo chown -R"),
        "{message}"
    );
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    // Created while others could write to the folder.
    let folder = TempDir::new().unwrap();
    for name in [
        "admin-token",
        "signing-secret",
        "secrets.json",
        "tables.sqlite",
        "documents.sqlite-wal",
    ] {
        let planted = folder.path().join(name);
        fs::write(&planted, "planted-by-another-user\n").unwrap();
        set_mode(&planted, 0o600);
        chown(&planted, Some(ANOTHER_USER), None).unwrap();
        let message = refusal(folder.path());
        assert!(
            message.contains(name) && message.contains("belongs to user 54321"),
            "{message}"
        );
        fs::remove_file(&planted).unwrap();
    }
}

#[test]
fn root_serves_a_folder_of_another_user_with_a_warning() {
    if !is_root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let token = folder.path().join("admin-token");
    fs::write(&token, "the-admin-token-of-the-owner\n").unwrap();
    for path in [folder.path(), &token] {
        chown(path, Some(ANOTHER_USER), None).unwrap();
    }
    let mut command = serve(folder.path());
    let mut server = Killable::start_with(command.stderr(Stdio::piped()));
    server.kill();
    let log = std::io::read_to_string(server.process.stderr.take().unwrap()).unwrap();
    assert!(log.contains("another user owns the data folder"), "{log}");
}

#[test]
fn a_file_of_root_that_a_user_may_only_read_is_used() {
    if !can_run_as_another_user() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let token = folder.path().join("admin-token");
    fs::write(&token, "the-admin-token-of-root\n").unwrap();
    set_mode(&token, 0o644);
    chown(folder.path(), Some(ANOTHER_USER), None).unwrap();
    Killable::start_with(&mut serve_as_another_user(folder.path())).kill();
    assert_eq!(mode(&token), 0o644);
}

#[test]
fn a_file_that_others_can_write_or_that_is_a_link_is_refused() {
    let (folder, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let target = elsewhere.path().join("target");
    fs::write(&target, "planted-by-another-user\n").unwrap();
    set_mode(&target, 0o600);
    for name in [
        "admin-token",
        "signing-secret",
        "secrets.json",
        "tables.sqlite",
        "lock",
        "url",
    ] {
        let path = folder.path().join(name);
        fs::write(&path, "planted-by-another-user\n").unwrap();
        set_mode(&path, 0o666);
        let message = refusal(folder.path());
        assert!(
            message.contains(&format!("chmod go-w '{}'", path.display())),
            "{message}"
        );
        fs::remove_file(&path).unwrap();

        symlink(&target, &path).unwrap();
        let message = refusal(folder.path());
        assert!(
            message.contains(name) && message.contains("must be a regular file"),
            "{message}"
        );
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&target).unwrap(),
        "planted-by-another-user\n"
    );
}

#[test]
fn a_secret_that_others_could_read_is_made_private() {
    let folder = TempDir::new().unwrap();
    Killable::start_with(&mut serve(folder.path())).kill();
    let secret = folder.path().join("signing-secret");
    set_mode(&secret, 0o644);
    Killable::start_with(&mut serve(folder.path())).kill();
    assert_eq!(mode(&secret), 0o600);
}

#[test]
fn no_second_server_starts_after_the_lock_is_deleted() {
    let folder = TempDir::new().unwrap();
    let mut server = Killable::start_with(&mut serve(folder.path()));
    fs::remove_file(folder.path().join("lock")).unwrap();
    let message = refusal(folder.path());
    assert!(message.contains("another server is running"), "{message}");
    // Through a link to the same folder.
    let link = TempDir::new().unwrap();
    symlink(folder.path(), link.path().join("data")).unwrap();
    assert!(refusal(&link.path().join("data")).contains("another server is running"));
    server.kill();
    Killable::start_with(&mut serve(folder.path())).kill();
}

#[test]
fn this_server_does_not_start_while_version_0_1_0_runs() {
    let folder = TempDir::new().unwrap();
    Killable::start_with(&mut serve(folder.path())).kill();
    // Version 0.1.0 locks only this.
    let lock = fs::File::options()
        .write(true)
        .open(folder.path().join("lock"))
        .unwrap();
    lock.lock().unwrap();
    assert!(refusal(folder.path()).contains("another server is running"));
    lock.unlock().unwrap();
}

#[tokio::test]
async fn a_missing_database_is_not_silently_replaced() {
    let folder = TempDir::new().unwrap();
    let model = FakeModel::saying("x").await;
    let mut server = Killable::start_with(&mut serve(folder.path()));
    let webhook = agent(&server.url, &model).await;
    server.kill();
    let elsewhere = TempDir::new().unwrap();
    let moved =
        |name: &str| fs::rename(folder.path().join(name), elsewhere.path().join(name)).unwrap();
    let put_back =
        |name: &str| fs::rename(elsewhere.path().join(name), folder.path().join(name)).unwrap();
    moved("tables.sqlite");
    let message = refusal(folder.path());
    assert!(
        message.contains("tables.sqlite is missing") && message.contains("from a backup"),
        "{message}"
    );
    moved("documents.sqlite");
    assert!(
        refusal(folder.path()).contains("tables.sqlite is missing"),
        "`url` is still there"
    );
    assert!(!folder.path().join("tables.sqlite").exists());

    put_back("tables.sqlite");
    put_back("documents.sqlite");
    let server = Killable::start_with(&mut serve(folder.path()));
    let triggered = client()
        .get(format!("{}{webhook}", server.url))
        .send()
        .await
        .unwrap();
    assert_eq!(triggered.status(), 200, "nothing was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_command_trusts_no_folder_of_another_user() {
    // The address to which another user wants the commands to send their requests.
    let thief = FakeModel::saying("x").await;
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("url"), thief.url.trim_end_matches("/v1")).unwrap();
    fs::write(folder.path().join("admin-token"), "planted-by-another-user").unwrap();
    let mut owners = vec![(rustix::process::geteuid().as_raw(), 0o777, "chmod go-w")];
    if is_root() {
        owners.push((ANOTHER_USER, 0o755, "belongs to user 54321"));
    }
    for (owner, mode, says) in owners {
        set_mode(folder.path(), mode);
        if fs::metadata(folder.path()).unwrap().uid() != owner {
            chown(folder.path(), Some(owner), None).unwrap();
        }
        let mut command = list_agents(folder.path());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && message.contains(says),
            "{message}"
        );
        // With the URL of another deployment, the folder is not used.
        let mut command = list_agents(folder.path());
        command.args([
            "--url",
            "http://127.0.0.1:1",
            "--admin-token",
            "the-admin-token-of-another",
        ]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        assert!(
            String::from_utf8(output.stderr)
                .unwrap()
                .contains("is the server running?")
        );
    }
    assert!(thief.asked().is_empty());
}
