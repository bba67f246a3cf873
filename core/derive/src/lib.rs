//! The derive macros of the crate `training-monitor`. Enable the feature `derive` of that crate to use them.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, Ident, Index, LitStr, Member, Result, parse_macro_input,
};

/// Implements `StateDict` for a struct. The implementation passes every field and its name to the visitor, which saves
/// or loads the field.
///
/// A field that is a number, a `bool` or an array of up to six dimensions is one tensor. The type of the field determines the
/// shape. A field of any other type must implement `StateDict`, and is a nested module. The names of its tensors get
/// the prefix `field_name.`, as in PyTorch. The fields of a tuple struct have the names `0`, `1`, and so on. The full
/// name of a tensor has at most 255 bytes on a 64-bit host, and 32 bytes on a microcontroller.
///
/// * `#[state_dict(skip)]` excludes a field.
/// * `#[state_dict(rename = "name")]` changes the name of a field.
/// * `#[state_dict(flatten)]` lists the tensors of a nested module without a prefix.
///
/// ```
/// use training_monitor::checkpoint::{self, Contents, Named};
/// use training_monitor::StateDict;
///
/// #[derive(StateDict)]
/// struct Dense { weight: [[f32; 4]; 3], bias: [f32; 3] }
///
/// #[derive(StateDict)]
/// struct Net {
///     hidden: Dense, // tensors "hidden.weight" of shape [3, 4] and "hidden.bias" of shape [3]
///     #[state_dict(rename = "out")]
///     output: Dense,
///     #[state_dict(skip)]
///     scratch: Vec<f32>,
/// }
///
/// let dense = || Dense { weight: [[0.0; 4]; 3], bias: [0.0; 3] };
/// let mut net = Net { hidden: dense(), output: dense(), scratch: vec![] };
/// assert!(checkpoint::measure(&Contents::new(1), &mut Named::new("net", &mut net)).is_ok());
/// ```
#[proc_macro_derive(StateDict, attributes(state_dict))]
pub fn derive_state_dict(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input, Derive::StateDict).unwrap_or_else(Error::into_compile_error).into()
}

/// Implements `Objects` for a struct. Every field is one object of the checkpoint, and has the name of the field.
///
/// A field must implement `StateDict`, unless it is marked as a value. The names of objects have the same limit as those of
/// tensors.
///
/// * `#[objects(value)]` saves the field as a whole with postcard. Its type must implement `Serialize` and
///   `DeserializeOwned`. Its strings and byte arrays have at most 64 bytes in total.
/// * `#[objects(value, scratch = "buffer")]` does the same. The strings and byte arrays of the value can have as many
///   bytes as the field `buffer`, an array or slice of `u8` that is marked with `skip`.
/// * `#[objects(skip)]` excludes a field.
/// * `#[objects(rename = "name")]` changes the name of a field.
///
/// ```
/// use training_monitor::checkpoint::{self, Contents};
/// use training_monitor::{Objects, StateDict};
///
/// #[derive(StateDict)]
/// struct Net { weight: [[f32; 4]; 3], bias: [f32; 3] }
///
/// #[derive(Objects)]
/// struct Training {
///     model: Net,
///     momentum: [f32; 15], // one tensor
///     #[objects(value)]
///     rng: u64,
/// }
///
/// let net = Net { weight: [[0.0; 4]; 3], bias: [0.0; 3] };
/// let mut training = Training { model: net, momentum: [0.0; 15], rng: 7 };
/// assert!(checkpoint::measure(&Contents::new(1), &mut training).is_ok());
/// ```
#[proc_macro_derive(Objects, attributes(objects))]
pub fn derive_objects(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input, Derive::Objects).unwrap_or_else(Error::into_compile_error).into()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Derive {
    StateDict,
    Objects,
}

impl Derive {
    /// Returns the name of the attribute that configures a field.
    fn attribute(self) -> &'static str {
        match self {
            Derive::StateDict => "state_dict",
            Derive::Objects => "objects",
        }
    }
}

/// The options in the attributes of one field.
#[derive(Default)]
struct Options {
    skip: bool,
    flatten: bool,
    value: bool,
    scratch: Option<Ident>,
    rename: Option<LitStr>,
}

impl Options {
    fn parse(attributes: &[Attribute], derive: Derive) -> Result<Self> {
        let mut options = Options::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(derive.attribute())) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("skip") {
                    options.skip = true;
                } else if meta.path.is_ident("rename") {
                    options.rename = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("flatten") && derive == Derive::StateDict {
                    options.flatten = true;
                } else if meta.path.is_ident("value") && derive == Derive::Objects {
                    options.value = true;
                } else if meta.path.is_ident("scratch") && derive == Derive::Objects {
                    options.scratch = Some(meta.value()?.parse::<LitStr>()?.parse()?);
                } else {
                    let expected = match derive {
                        Derive::StateDict => "expected `skip`, `flatten` or `rename = \"name\"`",
                        Derive::Objects => "expected `value`, `scratch = \"field\"`, `skip` or `rename = \"name\"`",
                    };
                    return Err(meta.error(expected));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

fn expand(input: &DeriveInput, derive: Derive) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(input.span(), "only a struct can list its fields; implement the trait by hand"));
    };
    let fields = match &data.fields {
        Fields::Named(fields) => fields.named.iter().collect::<Vec<_>>(),
        Fields::Unnamed(fields) => fields.unnamed.iter().collect(),
        Fields::Unit => Vec::new(),
    };
    let visits = fields.iter().enumerate().map(|(index, field)| visit(index, field, derive));
    let visits = visits.collect::<Result<Vec<_>>>()?;
    let name: &Ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let (target, method, visitor) = match derive {
        Derive::StateDict => (quote!(StateDict), quote!(tensors), quote!(TensorVisitor)),
        Derive::Objects => (quote!(Objects), quote!(objects), quote!(ObjectVisitor)),
    };
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::training_monitor::checkpoint::#target for #name #type_generics #where_clause {
            fn #method<__V: ::training_monitor::checkpoint::#visitor>(
                &mut self,
                visitor: &mut __V,
            ) -> ::core::result::Result<(), __V::Error> {
                #(#visits)*
                ::core::result::Result::Ok(())
            }
        }
    })
}

/// Returns the statement that passes one field to the visitor.
fn visit(index: usize, field: &Field, derive: Derive) -> Result<TokenStream> {
    let options = Options::parse(&field.attrs, derive)?;
    if options.skip {
        return Ok(TokenStream::new());
    }
    if let Some(scratch) = options.scratch.as_ref().filter(|_| !options.value) {
        return Err(Error::new(scratch.span(), "`scratch` needs `value`"));
    }
    let member = match &field.ident {
        Some(ident) => Member::Named(ident.clone()),
        None => Member::Unnamed(Index::from(index)),
    };
    let name = options.rename.map_or_else(
        || match &field.ident {
            // A raw identifier such as `r#type` gives the field name `type`, without the prefix `r#`.
            Some(ident) => ident.to_string().trim_start_matches("r#").to_owned(),
            None => index.to_string(),
        },
        |name| name.value(),
    );
    // The span (source position) of the generated code is that of the field type. Compiler errors then point to the
    // field.
    let span = field.ty.span();
    Ok(match derive {
        Derive::StateDict if options.flatten => quote_spanned! {span=>
            ::training_monitor::checkpoint::StateDict::tensors(&mut self.#member, visitor)?;
        },
        Derive::StateDict => quote_spanned! {span=>
            ::training_monitor::checkpoint::StateDict::visit_as_field(&mut self.#member, #name, visitor)?;
        },
        Derive::Objects if options.value => match options.scratch {
            Some(scratch) => quote_spanned! {span=>
                ::training_monitor::checkpoint::ObjectVisitor::value_with(
                    visitor, #name, &mut self.#member, &mut self.#scratch,
                )?;
            },
            None => quote_spanned! {span=>
                ::training_monitor::checkpoint::ObjectVisitor::value(visitor, #name, &mut self.#member)?;
            },
        },
        Derive::Objects => quote_spanned! {span=>
            ::training_monitor::checkpoint::ObjectVisitor::state_dict(visitor, #name, &mut self.#member)?;
        },
    })
}
