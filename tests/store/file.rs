//! The database file: locks, modes, refusals, backups.

use super::*;

#[test]
fn a_second_process_is_told_that_another_instance_runs() {
    let world = World::new();
    if let Ok(database) = std::env::var("STORE_TEST_DATABASE") {
        let refused = InstanceLock::take(database.as_ref()).unwrap_err();
        assert_eq!(refused.class, Class::Partial);
        return;
    }
    let lock = InstanceLock::take(&world.path()).unwrap();
    let second = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_second_process_is_told_that_another_instance_runs"])
        .env("STORE_TEST_DATABASE", world.path())
        .status()
        .unwrap();
    assert!(second.success());
    drop(lock);
    InstanceLock::take(&world.path()).unwrap();
}

#[test]
fn after_a_clean_stop_the_file_still_opens_read_only_and_all_modes_are_narrow() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("var/lib/books.db");
    let store = Store::open(&path).unwrap();
    store::set_pause(&store, "lane", night(5), "patience").unwrap();
    drop(store);
    for name in ["books.db", "books.db-wal", "books.db-shm"] {
        let mode = std::fs::metadata(path.with_file_name(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
    let mode = std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    let analyst = rusqlite::Connection::open_with_flags(
        format!("file:{}?mode=ro", path.display()),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_URI,
    )
    .unwrap();
    assert_eq!(dump(&analyst, "SELECT why FROM pauses"), ["patience"]);
    let reader = Store::open_read_only(&path).unwrap();
    assert_eq!(store::pause(&reader, "lane").unwrap().unwrap().0, night(5));
    assert_eq!(
        store::set_pause(&reader, "lane", night(6), "no").unwrap_err().class,
        Class::Internal
    );
}

#[test]
fn files_that_are_not_ours_are_refused_and_left_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("books.db");
    drop(Store::open(&path).unwrap());
    let ours = bytes(&path);
    let patched = |at: usize, value: &[u8]| {
        let mut bytes = ours.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    for (name, content, class, expected) in [
        ("empty", Vec::new(), Class::LocalIo, "is empty"),
        ("short", b"SQLite format 3\0".to_vec(), Class::LocalIo, "too short"),
        ("text", vec![b'x'; 4096], Class::LocalIo, "not a SQLite database"),
        ("foreign", patched(68, &[0; 4]), Class::LocalIo, "another program"),
        (
            "cut off",
            ours[..ours.len() - 20_000].to_vec(),
            Class::LocalIo,
            "cut off",
        ),
        ("newer", patched(60, &[0, 0, 0, 99]), Class::Config, "version 99"),
        (
            "not wal",
            patched(18, &[1, 1]),
            Class::Config,
            "PRAGMA journal_mode=wal",
        ),
        ("zeroed", patched(100, &[0; 4000]), Class::LocalIo, "damaged"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, &content).unwrap();
        let failure = Store::open(&path).err().unwrap();
        assert_eq!(failure.class, class, "{name}: {}", failure.message);
        assert!(failure.message.contains(expected), "{name}: {}", failure.message);
        assert_eq!(bytes(&path), content, "{name} was touched");
    }
    assert_eq!(Store::open(folder.path()).err().unwrap().class, Class::LocalIo);
    assert_eq!(
        Store::open_read_only(&folder.path().join("none")).err().unwrap().class,
        Class::LocalIo
    );
    let lonely = folder.path().join("lonely.db");
    std::fs::write(folder.path().join("lonely.db-wal"), b"commits of another life").unwrap();
    assert!(
        Store::open(&lonely)
            .err()
            .unwrap()
            .message
            .contains("its database is not")
    );
}

#[test]
fn an_altered_schema_is_refused_with_its_repair() {
    let world = World::new();
    world.tamper("DROP INDEX transactions_by_reference");
    let failure = Store::open(&world.path()).err().unwrap();
    assert_eq!(failure.class, Class::Config);
    assert!(
        failure.message.contains("CREATE INDEX transactions_by_reference"),
        "{}",
        failure.message
    );
}

#[test]
fn a_full_disk_stores_nothing_half_and_the_next_run_goes_on() {
    let world = World::new();
    let ask = ask("days", 4, night(5));
    let reading = world.open(&ask);
    let many: Vec<Value> = (0..2000).map(|n| row(&format!("id-{n}"), n)).collect();
    world.archive(&ask, &reading, 0, &rows(&many)).unwrap();
    let before = world.everything();
    let limit = |pages: u32| {
        world
            .store
            .write(|tx| Ok(tx.pragma_update(None, "max_page_count", pages)?))
            .unwrap();
    };
    limit(1);
    let failure = world.seal(&ask, &reading, WindowState::Sealed).unwrap_err();
    assert_eq!(failure.class, Class::LocalIo);
    assert!(failure.message.contains("books.db"), "{}", failure.message);
    assert_eq!(world.everything(), before);
    limit(1 << 30);
    assert_eq!(world.seal(&ask, &reading, WindowState::Sealed).unwrap().new, 2000);
}

#[test]
fn another_writer_is_waited_for_and_then_named() {
    let world = World::new();
    let patience = store::Patience {
        timeout: std::time::Duration::from_millis(20),
        attempts: 2,
    };
    let store = Store::open_with(&world.path(), patience).unwrap();
    let analyst = rusqlite::Connection::open(world.path()).unwrap();
    analyst.execute_batch("BEGIN IMMEDIATE").unwrap();
    let failure = store::set_pause(&store, "lane", night(5), "why").unwrap_err();
    assert_eq!(failure.class, Class::Partial);
    assert!(failure.message.contains("locked by another writer"));
    analyst.execute_batch("ROLLBACK").unwrap();
    store::set_pause(&store, "lane", night(5), "why").unwrap();
}

#[test]
fn a_backup_and_a_published_copy_are_whole_and_replace_only_their_like() {
    let world = three_nights();
    let folder = tempfile::tempdir().unwrap();
    let (copy, published) = (folder.path().join("copy.db"), folder.path().join("latest.db"));
    for _ in 0..2 {
        store::backup(&world.store, &copy).unwrap();
        store::publish(&world.store, &published).unwrap();
    }
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|f| f.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "nothing beside them: {names:?}");
    assert_eq!(bytes(&published)[18..20], [1, 1], "a published copy needs no log");
    let restored = Store::open(&copy).unwrap();
    assert_eq!(store::verify(&restored, &[job()]).unwrap(), []);
    let analyst = Store::open_read_only(&published).unwrap();
    assert_eq!(analyst.read(|c| Ok(dump(c, CURRENT))).unwrap(), world.select(CURRENT));
    let ledger = folder.path().join("ledger.csv");
    std::fs::write(&ledger, "reference,amount\n").unwrap();
    assert_eq!(store::backup(&world.store, &ledger).unwrap_err().class, Class::Usage);
    assert_eq!(
        store::backup(&world.store, &world.path()).unwrap_err().class,
        Class::Usage
    );
    assert_eq!(bytes(&ledger), b"reference,amount\n");
}
