//! Handlers that contain one other handler and change or measure what it does.

/// Implements the methods of [`Handler`] that concern stored checkpoints, for a handler that contains another handler in
/// a field: each method calls the same method of that handler. The arguments are the field, and the output and the
/// metrics of its handler; the model is `T`. With `all`, the macro also implements those that such a handler may have to
/// implement itself: the check at the start, the error of a save, and the search for the newest checkpoint.
macro_rules! forward_to_inner {
    ($self:ident.$inner:ident, $output:ident, $metrics:ident) => {
        #[inline(always)]
        fn damaged_checkpoints(&mut $self) -> u32 {
            $crate::handler::Handler::<T, $output, $metrics>::damaged_checkpoints(&mut $self.$inner)
        }
        #[inline(always)]
        fn wear(&mut $self) -> $crate::handler::Wear {
            $crate::handler::Handler::<T, $output, $metrics>::wear(&mut $self.$inner)
        }
        #[inline(always)]
        fn verify_checkpoint(
            &mut $self,
            point: $crate::run_record::ResumePoint,
            model: &mut T,
            record: &mut $crate::run_record::RunRecord<[u8]>,
        ) -> Result<bool, $crate::run_record::RestoreError> {
            $crate::handler::Handler::<T, $output, $metrics>::verify_checkpoint(&mut $self.$inner, point, model, record)
        }
        #[inline(always)]
        fn load_checkpoint(
            &mut $self,
            point: $crate::run_record::ResumePoint,
            model: &mut T,
        ) -> Result<bool, $crate::run_record::RestoreError> {
            $crate::handler::Handler::<T, $output, $metrics>::load_checkpoint(&mut $self.$inner, point, model)
        }
    };
    (all $self:ident.$inner:ident, $output:ident, $metrics:ident) => {
        #[inline(always)]
        fn check_start(&mut $self, model: &mut T, start: &mut $crate::handler::StartCheck) {
            $crate::handler::Handler::<T, $output, $metrics>::check_start(&mut $self.$inner, model, start);
        }
        #[inline(always)]
        fn save_error(&$self) -> Option<$crate::checkpoint::EncodeError<embedded_io::ErrorKind>> {
            $crate::handler::Handler::<T, $output, $metrics>::save_error(&$self.$inner)
        }
        #[inline(always)]
        fn newest_checkpoint(
            &mut $self,
            below: Option<$crate::run_record::ResumePoint>,
        ) -> Result<Option<$crate::run_record::ResumePoint>, $crate::run_record::RestoreError> {
            $crate::handler::Handler::<T, $output, $metrics>::newest_checkpoint(&mut $self.$inner, below)
        }
        $crate::handler::forward_to_inner!($self.$inner, $output, $metrics);
    };
}
pub(crate) use forward_to_inner;
