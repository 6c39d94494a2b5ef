//! The memory disk keeps what the disk trait promises, and breaks what it may break.

use onebox_service::FaultKind;

use crate::disk::{Disk, OpenMode, SECTOR_BYTES};
use crate::memory::image::{SECTOR, Sector};
use crate::memory::{CrashKind, MemoryDisk};

fn disk_with(bytes: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.write_file("a/file", bytes);
    disk
}

#[test]
fn synced_bytes_survive_and_unsynced_ones_may_not() {
    let disk = disk_with(&[1; 10_000]);
    let file = disk.open("a/file", OpenMode::Write).expect("opens");
    file.write_at(5_000, &[2; 10]).expect("writes");
    assert_eq!(disk.crash_image(0, CrashKind::DropAll).read_file("a/file"), Some(vec![1; 10_000]));
    let kept = disk.crash_image(0, CrashKind::KeepAll).read_file("a/file").expect("is there");
    assert_eq!(kept[5_000..5_010], [2; 10]);
    file.sync().expect("syncs");
    for seed in 0..50 {
        assert_eq!(disk.crash_image(seed, CrashKind::Random).read_file("a/file"), Some(kept.clone()));
    }
}

#[test]
fn a_random_crash_never_touches_durable_sectors_and_does_break_others() {
    let disk = disk_with(&[1; 5 * SECTOR_BYTES as usize]);
    let file = disk.open("a/file", OpenMode::Write).expect("opens");
    file.write_at(SECTOR_BYTES, &[2; SECTOR_BYTES as usize]).expect("writes");
    file.write_at(2 * SECTOR_BYTES + 7, &[3; 100]).expect("writes");
    let sector = |bytes: &[u8], number: usize| bytes[number * 4096..(number + 1) * 4096].to_vec();
    let (mut old, mut new, mut mixed, mut garbled) = (0, 0, 0, 0);
    for seed in 0..400 {
        let bytes = disk.crash_image(seed, CrashKind::Random).read_file("a/file").expect("is there");
        for durable in [0, 3, 4] {
            assert_eq!(sector(&bytes, durable), [1; 4096], "seed {seed}");
        }
        let found = sector(&bytes, 1);
        match (found.contains(&1), found.contains(&2), found.iter().all(|byte| [1, 2].contains(byte))) {
            (true, false, true) => old += 1,
            (false, true, true) => new += 1,
            (true, true, true) => mixed += 1,
            _ => garbled += 1,
        }
    }
    assert!(old > 20 && new > 20 && mixed > 5 && garbled > 5, "{old} {new} {mixed} {garbled}");
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let disk = disk_with(&[1; 50_000]);
    disk.open("a/file", OpenMode::Write).expect("opens").write_at(3, &[9; 40_000]).expect("writes");
    for seed in 0..20 {
        let image = || disk.crash_image(seed, CrashKind::Random).read_file("a/file");
        assert_eq!(image(), image());
    }
}

#[test]
fn names_are_durable_after_their_folder_was_synced() {
    let disk = disk_with(&[1; 10]);
    disk.make_folder("b").expect("makes");
    disk.open("a/new", OpenMode::Create).expect("opens");
    disk.rename("a/file", "b/moved").expect("renames");
    assert_eq!(disk.crash_image(0, CrashKind::DropAll).files(), ["a/file"]);
    assert_eq!(disk.crash_image(0, CrashKind::KeepAll).files(), ["a/new", "b/moved"]);
    for seed in 0..100 {
        let files = disk.crash_image(seed, CrashKind::Random).files();
        assert!(files.iter().any(|name| name == "a/file" || name == "b/moved"), "seed {seed}: {files:?}");
    }
    disk.sync_folder("b").expect("syncs");
    disk.sync_folder("a").expect("syncs");
    assert_eq!(disk.crash_image(0, CrashKind::DropAll).files(), ["a/new", "b/moved"]);
}

#[test]
fn cutting_and_growing_gives_zeros_and_either_length_after_a_crash() {
    let disk = disk_with(&[7; 10_000]);
    let file = disk.open("a/file", OpenMode::Write).expect("opens");
    file.set_len(100).expect("cuts");
    file.set_len(9_000).expect("grows");
    let bytes = disk.read_file("a/file").expect("is there");
    assert_eq!((bytes.len(), &bytes[..100], &bytes[100..]), (9_000, &[7; 100][..], &[0; 8_900][..]));
    let lengths: Vec<usize> =
        (0..100).map(|seed| disk.crash_image(seed, CrashKind::Random).read_file("a/file").expect("is there").len()).collect();
    assert!(lengths.contains(&10_000) && lengths.contains(&100) && lengths.contains(&9_000));
    file.sync().expect("syncs");
    assert_eq!(disk.crash_image(0, CrashKind::DropAll).read_file("a/file"), Some(bytes));
}

#[test]
fn a_full_disk_refuses_growth_only() {
    let disk = disk_with(&[7; 10_000]);
    disk.set_capacity(10_001);
    assert_eq!(disk.free_bytes(), Ok(1));
    let file = disk.open("a/file", OpenMode::Write).expect("opens");
    file.write_at(0, &[1; 10_001]).expect("fits");
    assert_eq!(file.write_at(10_000, &[1; 2]).expect_err("does not fit").kind, FaultKind::DiskFull);
    disk.remove("a/file").expect("removes");
    assert_eq!(disk.free_bytes(), Ok(10_001));
}

#[test]
fn power_is_lost_at_the_asked_change_and_everything_fails_after_it() {
    let disk = disk_with(&[0; 10]);
    let file = disk.open("a/file", OpenMode::Write).expect("opens");
    disk.fail_after(1);
    file.write_at(0, &[1]).expect("still has power");
    assert_eq!(file.write_at(1, &[2]).expect_err("loses power").detail, "power lost");
    assert!(file.sync().is_err() && file.len().is_err() && disk.list("a").is_err());
    assert_eq!(disk.crash_image(0, CrashKind::DropAll).read_file("a/file"), Some(vec![0; 10]));
    assert_eq!(disk.crash_image(0, CrashKind::KeepAll).read_file("a/file").expect("is there")[..2], [1, 2]);
}

#[test]
fn after_a_failed_sync_a_later_one_proves_nothing() {
    let disk = disk_with(&[0; 10]);
    let file = disk.open("a/file", OpenMode::Write).expect("opens");
    file.write_at(0, &[1]).expect("writes");
    disk.fail_next("sync", "file");
    assert_eq!(file.sync().expect_err("was asked to fail").operation, "fdatasync");
    file.sync().expect("claims to succeed");
    assert_eq!(disk.crash_image(0, CrashKind::DropAll).read_file("a/file"), Some(vec![0; 10]));
    file.write_at(5, &[2]).expect("writes");
    file.sync().expect("succeeds");
    assert_eq!(disk.crash_image(0, CrashKind::DropAll).read_file("a/file"), Some(vec![1, 0, 0, 0, 0, 2, 0, 0, 0, 0]));
}

#[test]
fn zeros_take_no_room() {
    let disk = MemoryDisk::new();
    let file = disk.open("zeros", OpenMode::Create).expect("opens");
    for chunk in 0..64 {
        file.write_at(chunk << 20, &vec![0; 1 << 20]).expect("writes");
    }
    file.sync().expect("syncs");
    let room = || disk.world().files[&1].live.sectors.iter().map(Sector::room).sum::<usize>();
    assert_eq!(room(), 0);
    file.write_at(5000, &[7; 100]).expect("writes");
    assert_eq!(room(), 5100 - SECTOR, "what is behind the last byte that is not zero takes none either");
    assert_eq!(disk.read_file("zeros").expect("is there")[5090..5110], [[7; 10], [0; 10]].concat());
    file.set_len(5050).expect("cuts");
    assert_eq!(room(), 5050 - SECTOR);
}
