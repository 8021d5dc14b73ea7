//! The notation in which the classes list their methods.

/// Makes a struct of each method: its fields, how they are read and written, its defaults.
///
/// ```text
/// class<'a> 50 "queue";
/// /// What it asks for.
/// Declare<'a> = 10 "queue.declare", Client, Sync {
///     /// What the field says.
///     queue: ShortStr<'a>,
///     durable: bool = true,       // a default other than zero, false or empty
/// }
/// ```
///
/// `Client`, `Server`, `Both` is who may send it; `Sync`, `Async`, `Content` its shape.
macro_rules! class {
    (
        class<$a:lifetime> $class_id:literal $class:literal;
        $(
            $(#[$doc:meta])*
            $method:ident $(<$lt:lifetime>)? = $method_id:literal $name:literal,
            $sender:ident, $shape:ident
            {$(
                $(#[$field_doc:meta])*
                $field:ident: $type:ty $(= $default:expr)?,
            )*}
        )*
    ) => {
        #[doc = concat!("The number of the class `", $class, "`.")]
        pub const CLASS_ID: u16 = $class_id;

        $(
            #[doc = concat!("`", $name, "`.\n")]
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $method $(<$lt>)? {
                $(
                    $(#[$field_doc])*
                    pub $field: $type,
                )*
            }

            impl $(<$lt>)? $method $(<$lt>)? {
                /// The numbers of the class and the method.
                pub const ID: $crate::codec::MethodId =
                    $crate::codec::MethodId { class_id: $class_id, method_id: $method_id };

                /// The name, of class and method.
                pub const NAME: &'static str = $name;
            }

            // With the defaults that the specification gives.
            impl $(<$lt>)? Default for $method $(<$lt>)? {
                fn default() -> Self {
                    Self { $($field: $crate::codec::method::class::default!($($default)?),)* }
                }
            }

            impl<$a> $crate::codec::method::Arguments<$a> for $method $(<$lt>)? {
                const ID: $crate::codec::MethodId = Self::ID;
                const SENDER: $crate::codec::Sender = $crate::codec::Sender::$sender;
                const SHAPE: $crate::codec::method::Shape = $crate::codec::method::Shape::$shape;

                #[inline(always)]
                #[allow(unused_variables, reason = "not every method has fields")]
                fn read(
                    reader: &mut $crate::codec::wire::Reader<$a>,
                ) -> Result<Self, $crate::codec::wire::Fault> {
                    Ok(Self { $($field: reader.field()?,)* })
                }

                #[inline(always)]
                #[allow(unused_variables, reason = "not every method has fields")]
                fn write(&self, writer: &mut $crate::codec::wire::Writer<'_>) {
                    $(writer.field(self.$field);)*
                }
            }

            impl $(<$lt>)? $crate::codec::EncodeMethod for $method $(<$lt>)? {
                #[inline]
                fn id(&self) -> $crate::codec::MethodId {
                    Self::ID
                }

                #[inline]
                fn encode_arguments(&self, out: &mut Vec<u8>) {
                    use $crate::codec::method::Arguments;
                    self.write(&mut $crate::codec::wire::Writer::new(out));
                }
            }
        )*
    };
}

/// A field's default: the one given, or else the type's.
macro_rules! default {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

pub(super) use {class, default};
