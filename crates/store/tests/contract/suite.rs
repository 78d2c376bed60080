//! What every store keeps to. Each check has a folder of its own, and says what was not as it must be.

// These are tests, as the attribute of their caller says.
#![allow(clippy::unwrap_used, clippy::panic)]

use vacuole_store::{Entry, ErrorKind, Store};

/// Larger than a part of an upload, and no multiple of it.
const LARGE: usize = (20 << 20) + 12_345;

type Check = fn(&dyn Store, &str);

/// All checks by name.
pub(crate) const CHECKS: [(&str, Check); 12] = [
    ("put and read", put_and_read),
    ("put replaces", put_replaces),
    ("put_new has one winner", put_new_has_one_winner),
    ("ranges", ranges),
    ("list", list),
    ("size and state", size_and_state),
    ("a writer makes its object appear at the end", writer_appears_at_the_end),
    ("a dropped writer leaves nothing", dropped_writer_leaves_nothing),
    ("remove", remove),
    ("what is missing", missing),
    ("when something was put last", last_put),
    ("names", names),
];

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect()
}

fn entry(name: &str, size: Option<u64>) -> Entry {
    Entry { name: name.to_owned(), is_folder: size.is_none(), size: size.unwrap_or(0) }
}

/// The paths of all objects in a folder. Folders alone do not count: some servers show them for a while after their
/// last object has gone.
fn objects(store: &dyn Store, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in store.list(folder).unwrap() {
        let path = format!("{folder}/{}", entry.name);
        match entry.is_folder {
            true => found.extend(objects(store, &path)),
            false => found.push(path),
        }
    }
    found
}

fn put_and_read(store: &dyn Store, folder: &str) {
    for length in [0, 1, 100_000] {
        let path = format!("{folder}/deep/er/{length}");
        store.put(&path, &bytes(length)).unwrap();
        store.flush().unwrap();
        assert_eq!(store.read(&path).unwrap(), bytes(length));
    }
}

fn put_replaces(store: &dyn Store, folder: &str) {
    let path = format!("{folder}/a");
    store.put(&path, b"first").unwrap();
    store.put(&path, b"second").unwrap();
    assert_eq!(store.read(&path).unwrap(), b"second");
    let mut writer = store.writer(&path).unwrap();
    writer.append(b"third").unwrap();
    writer.finish().unwrap();
    assert_eq!(store.read(&path).unwrap(), b"third");
}

fn put_new_has_one_winner(store: &dyn Store, folder: &str) {
    let path = format!("{folder}/plan");
    let won: Vec<u8> = std::thread::scope(|scope| {
        let path = &path;
        let threads: Vec<_> =
            (0..16).map(|i| scope.spawn(move || (i, store.put_new(path, &[i])))).collect();
        let ends = threads.into_iter().map(|thread| thread.join().unwrap());
        ends.filter_map(|(i, put)| match put {
            Ok(()) => Some(i),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                None
            }
        })
        .collect()
    });
    assert_eq!(won.len(), 1, "winners: {won:?}");
    assert_eq!(store.read(&path).unwrap(), won);
    assert_eq!(store.put_new(&path, b"x").unwrap_err().kind(), ErrorKind::AlreadyExists);
}

fn ranges(store: &dyn Store, folder: &str) {
    let path = format!("{folder}/large");
    let all = bytes(LARGE);
    let mut writer = store.writer(&path).unwrap();
    for piece in all.chunks(3_000_001) {
        writer.append(piece).unwrap();
    }
    writer.finish().unwrap();
    let end = LARGE as u64;
    let wanted = [8..10, 0..0, 2..4, end - 1..end, 1 << 20..12 << 20, 9..11, 0..end];
    let read = store.read_ranges(&path, &wanted).unwrap();
    for (range, found) in wanted.iter().zip(&read) {
        assert!(found == &all[range.start as usize..range.end as usize], "{range:?}");
    }
    assert!(store.read(&path).unwrap() == all);
    for range in [end - 1..end + 1, end..end + 1, end + 5..end + 9] {
        let asked = [0..1, range.clone()];
        let error = store.read_ranges(&path, &asked).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "{range:?}: {error}");
        assert!(error.to_string().contains(&store.display(&path)), "{error}");
    }
}

fn list(store: &dyn Store, folder: &str) {
    for (path, size) in [("b", 2), ("a.txt", 1), ("sub/c", 3), ("sub/d/e", 4), ("a", 0)] {
        store.put(&format!("{folder}/{path}"), &bytes(size)).unwrap();
    }
    let expected =
        [entry("a", Some(0)), entry("a.txt", Some(1)), entry("b", Some(2)), entry("sub", None)];
    assert_eq!(store.list(folder).unwrap(), expected);
    let below = store.list(&format!("{folder}/sub")).unwrap();
    assert_eq!(below, [entry("c", Some(3)), entry("d", None)]);
    assert!(store.list("").unwrap().iter().any(|entry| entry.name == folder && entry.is_folder));
    // A name that only begins like the folder's is none of its.
    store.put(&format!("{folder}-more/x"), b"x").unwrap();
    assert_eq!(store.list(folder).unwrap().len(), 4);
    store.remove_folder(&format!("{folder}-more")).unwrap();
}

fn last_put(store: &dyn Store, folder: &str) {
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    };
    assert_eq!(store.last_put(&format!("{folder}/none")).unwrap(), None);
    let before = now();
    store.put(&format!("{folder}/times/a"), b"a").unwrap();
    if let Some(first) = store.last_put(&format!("{folder}/times")).unwrap() {
        // Buckets tell seconds, by a clock of their own.
        assert!(first + 60_000 > before && first < now() + 60_000, "{first}, {before}");
        store.put(&format!("{folder}/times/b"), b"b").unwrap();
        assert!(store.last_put(&format!("{folder}/times")).unwrap() >= Some(first));
    }
}

fn size_and_state(store: &dyn Store, folder: &str) {
    let path = format!("{folder}/a/b");
    store.put(&path, b"12345").unwrap();
    assert_eq!(store.size(&path).unwrap(), Some(5));
    assert_eq!(store.size(&format!("{folder}/a")).unwrap(), None);
    let before = store.state(&path).unwrap();
    assert_eq!(store.state(&path).unwrap(), before);
    store.put(&path, b"123456").unwrap();
    assert_ne!(store.state(&path).unwrap(), before);
}

fn writer_appears_at_the_end(store: &dyn Store, folder: &str) {
    for length in [0, 10, 8 << 20, (8 << 20) + 1, LARGE] {
        let path = format!("{folder}/w{length}");
        let all = bytes(length);
        let mut writer = store.writer(&path).unwrap();
        for piece in all.chunks(5_000_000) {
            writer.append(piece).unwrap();
            assert_eq!(store.size(&path).unwrap(), None);
        }
        writer.finish().unwrap();
        assert_eq!(store.size(&path).unwrap(), Some(length as u64));
        assert!(store.read(&path).unwrap() == all);
    }
}

fn dropped_writer_leaves_nothing(store: &dyn Store, folder: &str) {
    for length in [0, 10, LARGE] {
        let mut writer = store.writer(&format!("{folder}/sub/x")).unwrap();
        writer.append(&bytes(length)).unwrap();
        drop(writer);
        assert!(store.list(folder).unwrap().is_empty());
    }
}

fn remove(store: &dyn Store, folder: &str) {
    for name in ["a", "b/c", "b/d/e", "bc"] {
        store.put(&format!("{folder}/{name}"), b"x").unwrap();
    }
    store.remove(&format!("{folder}/a")).unwrap();
    store.remove_folder(&format!("{folder}/b")).unwrap();
    assert_eq!(objects(store, folder), [format!("{folder}/bc")]);
    store.remove(&format!("{folder}/a")).unwrap();
    store.remove_folder(&format!("{folder}/b")).unwrap();
}

fn missing(store: &dyn Store, folder: &str) {
    let path = format!("{folder}/none");
    assert!(store.list(&path).unwrap().is_empty());
    assert_eq!(store.size(&path).unwrap(), None);
    assert_eq!(store.state(&path).unwrap(), None);
    for error in [
        store.read(&path).unwrap_err(),
        store.read_ranges(&path, std::slice::from_ref(&(0..1))).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(&store.display(&path)), "{error}");
    }
}

fn names(store: &dyn Store, folder: &str) {
    for name in ["a b", "ä%20ö", "__1_2_ab", "c+d=e&f", "(x)'y'~", "q?r#s", "a*b", "$&,;:@"] {
        let path = format!("{folder}/{name}/{name}");
        store.put(&path, name.as_bytes()).unwrap();
        assert_eq!(store.read(&path).unwrap(), name.as_bytes());
        let listed = store.list(&format!("{folder}/{name}")).unwrap();
        assert_eq!(listed, [entry(name, Some(name.len() as u64))]);
    }
    for path in ["../a", "a//b", "/a", "a/./b", "a/"] {
        assert_eq!(store.read(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path}");
    }
}
