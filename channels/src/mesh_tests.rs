use super::*;

fn drain<T: Send>(end: &mut End<T>) -> Vec<(usize, News<T>)> {
    std::iter::from_fn(|| end.read()).collect()
}

#[test]
fn each_life_of_a_core_ends_once_and_after_its_messages() {
    let mesh = Mesh::new(130, 4);
    let mut reader = End::new(&mesh, 1);
    for word in ["one", "two"] {
        let mut writer = End::new(&mesh, 129);
        writer.push(1, word);
        drop(writer);
    }
    let expected =
        [(129, News::Message("one")), (129, News::Gone), (129, News::Message("two")), (129, News::Gone)];
    assert_eq!(drain(&mut reader), expected);
    assert!(!reader.has_news());
}

#[test]
fn who_has_said_nothing_is_seen_to_go() {
    let mesh = Mesh::<u8>::new(2, 4);
    let mut reader = End::new(&mesh, 0);
    drop(End::new(&mesh, 1));
    assert_eq!(drain(&mut reader), [(1, News::Gone)]);
}

#[test]
fn a_new_life_hears_nothing_that_was_meant_for_the_old() {
    let mesh = Mesh::new(2, 4);
    let mut writer = End::new(&mesh, 0);
    let reader = End::new(&mesh, 1);
    writer.push(1, "lost");
    drop(reader);
    let mut reader = End::new(&mesh, 1);
    writer.push(1, "found");
    assert_eq!(drain(&mut reader), [(0, News::Message("found"))]);
}

#[test]
fn who_is_watched_leaves_no_hints_and_is_heard_all_the_same() {
    // So large that the first ring is for one.
    let message = |number| News::Message([number; 64]);
    let mesh = Mesh::new(2, 4);
    let (mut writer, mut reader) = (End::new(&mesh, 0), End::new(&mesh, 1));
    writer.push(1, [0; 64]);
    assert_eq!(drain(&mut reader), [(0, message(0))]);
    let hints = || mesh.places[1].hints[0].load(Ordering::Relaxed);
    writer.push(1, [1; 64]);
    assert!(hints() == 0 && reader.has_news());
    // The ring is full: the larger one is not watched before it is known.
    writer.push(1, [2; 64]);
    assert_eq!(hints(), 1);
    assert_eq!(drain(&mut reader), [(0, message(1)), (0, message(2))]);
    writer.push(1, [3; 64]);
    assert!(hints() == 0 && reader.has_news());
    drop(writer);
    assert_eq!(drain(&mut reader), [(0, message(3)), (0, News::Gone)]);
    let mut again = End::new(&mesh, 0);
    again.push(1, [4; 64]);
    assert_eq!((hints(), drain(&mut reader)), (1, vec![(0, message(4))]));
    again.push(1, [5; 64]);
    assert!(hints() == 0 && reader.has_news());
}

#[test]
fn only_some_are_watched_and_all_are_heard() {
    let mesh = Mesh::new(8, 4);
    let mut reader = End::new(&mesh, 0);
    let mut writers: Vec<_> = (1..8).map(|me| End::new(&mesh, me)).collect();
    for round in 0..3 {
        writers.iter_mut().for_each(|writer| writer.push(0, round));
        let hints = mesh.places[0].hints[0].load(Ordering::Relaxed).count_ones() as usize;
        assert_eq!(hints, if round == 0 { 7 } else { 7 - MESH_WATCHED });
        let mut heard: Vec<_> = drain(&mut reader).into_iter().map(|(from, _)| from).collect();
        heard.sort_unstable();
        assert!(heard.iter().copied().eq(1..8));
    }
}

#[test]
fn all_of_many_threads_arrives_in_order() {
    const EACH: usize = 10_000;
    let mesh = Mesh::new(4, 64);
    let mut reader = End::new(&mesh, 0);
    let (mut next, mut gone) = ([0; 4], 0);
    let rooms: Vec<_> = (0..4).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for (me, room) in rooms.iter().enumerate().skip(1) {
            let mut end = End::new(&mesh, me);
            scope.spawn(move || {
                for number in 0..EACH {
                    // Acquire: pairs with the reader's Release below; the protocol that bounds what is unread.
                    while number as u64 >= room.load(Ordering::Acquire) + 64 {
                        std::thread::yield_now();
                    }
                    end.push(0, number);
                }
            });
        }
        while gone < 3 {
            match reader.read() {
                Some((from, News::Message(number))) => {
                    assert_eq!(number, next[from]);
                    next[from] += 1;
                    rooms[from].store(next[from] as u64, Ordering::Release);
                }
                Some((_, News::Gone)) => gone += 1,
                None => std::thread::yield_now(),
            }
        }
    });
    assert_eq!(next[1..], [EACH; 3]);
}

#[test]
fn a_ring_grows_to_what_is_unread_and_no_more() {
    let mesh = Mesh::new(2, 5);
    let (mut writer, mut reader) = (End::new(&mesh, 0), End::new(&mesh, 1));
    let room = |writer: &End<[usize; 32]>| writer.outgoing[1].as_ref().map(|ring| ring.producer.capacity());
    let rooms = (0..5).map(|number| {
        writer.push(1, [number; 32]);
        room(&writer).expect("it has pushed")
    });
    assert_eq!(rooms.collect::<Vec<_>>(), [1, 2, 2, 4, 4]);
    assert!(drain(&mut reader).into_iter().eq((0..5).map(|number| (0, News::Message([number; 32])))));
}
