//! What must not compile, or other caches' defects were possible here. Each is a test of the documentation; the numbers
//! are those of the checklist in `docs/lru-cache.md`.

/// Nothing that `get` gives refers to the cache, so no lock is held by who has it:
///
/// ```compile_fail,E0308
/// let cache = purlin_lru_cache::Cache::<u8, String>::new(1);
/// let _: Option<&String> = cache.get(&1);
/// ```
///
/// and what it gives is the value itself, not a guard around it:
///
/// ```
/// let cache = purlin_lru_cache::Cache::<u8, String>::new(1);
/// let got: Option<String> = cache.get(&1);
/// drop(cache);
/// assert_eq!(got, None);
/// ```
#[expect(dead_code, reason = "its documentation is the test")]
struct RegressC16NoGuardIsReturned;

/// A cache of values that may not leave their thread stays there as well:
///
/// ```compile_fail,E0277
/// let cache = purlin_lru_cache::Cache::<u8, std::rc::Rc<u8>>::new(1);
/// std::thread::spawn(move || cache.get(&1));
/// ```
///
/// and so does one of such keys:
///
/// ```compile_fail,E0277
/// let cache = purlin_lru_cache::Cache::<std::rc::Rc<u8>, u8>::new(1);
/// std::thread::scope(|scope| {
///     scope.spawn(|| cache.len());
/// });
/// ```
///
/// What may leave it, may with the cache:
///
/// ```
/// let cache = purlin_lru_cache::Cache::<u8, std::sync::Arc<u8>>::new(1);
/// std::thread::spawn(move || cache.get(&1)).join().unwrap();
/// ```
#[expect(dead_code, reason = "its documentation is the test")]
struct RegressC18SendAndSync;

/// Where there are references, in the cache for one thread, the entry stays for as long as they are used. It cannot
/// be replaced meanwhile:
///
/// ```compile_fail,E0499
/// let mut cache = purlin_lru_cache::unsync::Cache::<u8, String>::new(1);
/// let value = cache.get(&1);
/// cache.insert(1, String::new());
/// drop(value);
/// ```
///
/// nor during a walk:
///
/// ```compile_fail,E0502
/// let mut cache = purlin_lru_cache::unsync::Cache::<u8, String>::new(1);
/// let mut walk = cache.iter();
/// cache.clear();
/// walk.next();
/// ```
///
/// and the cache cannot go before them:
///
/// ```compile_fail,E0505
/// let cache = purlin_lru_cache::unsync::Cache::<u8, String>::new(1);
/// let value = cache.peek(&1);
/// drop(cache);
/// assert_eq!(value, None);
/// ```
#[expect(dead_code, reason = "its documentation is the test")]
struct RegressC19NoReferenceOutlivesItsEntry;
