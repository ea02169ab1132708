#![allow(
    unsafe_code,
    reason = "the language gives identities to types that borrow nothing only"
)]

use core::any::TypeId;
use core::marker::PhantomData;

/// The identity of a type, without the bound that it borrows nothing. Two types that differ in lifetimes only have one
/// identity; to be compared with those of types that have none.
#[inline]
pub(super) fn id_of<T>() -> TypeId {
    trait Identified {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }

    impl<T> Identified for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }

    let named = PhantomData::<T>;
    let named: &(dyn Identified + '_) = &named;
    // SAFETY: the object has no data, and its one method looks at none, whatever the lifetimes in `T` are.
    let named: &(dyn Identified + 'static) = unsafe { core::mem::transmute(named) };
    named.id()
}
