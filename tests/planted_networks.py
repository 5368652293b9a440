"""Mistakes planted in the networks, the training loop and the classifier."""

from planted import Mutation

TABLE = [
    Mutation(
        "a stage begins with the layers of the one before",
        "networks/backbone.py",
        "start = 0 if first is None else self._place(first)",
        "start = 0 if first is None else self._place(first) - 1",
        "test_networks.py::test_stages_one_after_the_other_are_the_network",
    ),
    Mutation(
        "frozen normalization wakes up in training mode",
        "networks/backbone.py",
        '        if getattr(self, "_norm_frozen", False):',
        '        if getattr(self, "_norm_frozen", False) and not mode:',
        "test_networks.py::test_frozen_normalization_stays_as_it_is_in_training",
    ),
    Mutation(
        "freezing takes what lies behind the stage",
        "networks/backbone.py",
        "self.layers(None, up_to).requires_grad_(False)",
        "self.layers(up_to).requires_grad_(False)",
        "test_networks.py::test_freeze_ends_at_the_stage",
    ),
    Mutation(
        "pictures are normalized as BGR",
        "networks/backbone.py",
        "list(MEAN), list(STD))",
        "list(MEAN[::-1]), list(STD[::-1]))",
        "test_networks.py::test_preprocessing_equals_pillow_and_a_formula",
    ),
    Mutation(
        "parameters of another shape are let through",
        "networks/files.py",
        "if own[name].shape != state[name].shape:",
        "if own[name].ndim != state[name].ndim:",
        "test_networks.py::test_files_that_are_no_standin_are_told",
    ),
    Mutation(
        "what is missing stays random",
        "networks/files.py",
        "if missing or unknown or wrong:",
        "if unknown or wrong:",
        "test_networks.py::test_parameters_that_do_not_fit_are_never_loaded_in_part",
    ),
    Mutation(
        "a downloaded file is trusted",
        "networks/files.py",
        "if not digest.hexdigest().startswith(_HASHED.search(path.name).group(1)):",
        "if False:",
        "test_networks.py::test_a_downloaded_file_is_used_if_its_hash_is_right",
    ),
    Mutation(
        "every epoch has the same order",
        "training.py",
        "self.batches(np.random.default_rng([self.seed, self.done]))",
        "self.batches(np.random.default_rng([self.seed, 0]))",
        "test_training.py::test_a_loop_written_out_learns_the_same",
    ),
    Mutation(
        "a checkpoint forgets the optimizer",
        "training.py",
        '        self.optimizer.load_state_dict({"state": state, "param_groups": groups})',
        "        del groups",
        "test_training.py::test_stopped_after_an_epoch_it_ends_as_if_it_had_run_through",
    ),
    Mutation(
        "gradients of all steps add up",
        "training.py",
        "            self.optimizer.zero_grad()\n",
        "",
        "test_training.py::test_a_loop_written_out_learns_the_same",
    ),
    Mutation(
        "the learning rate moves once an epoch",
        "training.py",
        "t = (self.done + count / self.steps) / self.epochs",
        "t = self.done / self.epochs",
        "test_training.py::test_the_schedule_sets_the_rate_of_every_step",
    ),
    Mutation(
        "processes add their gradients",
        "training.py",
        "            value /= self.world\n",
        "",
        "test_training.py::test_two_processes_learn_what_one_learns",
    ),
    Mutation(
        "what training sees misses the object",
        "classification.py",
        "place = centre + rng",
        "place = -centre + rng",
        "test_classification.py::test_what_training_sees_holds_the_object",
    ),
    Mutation(
        "the right class counts as second",
        "classification.py",
        "right = place == 0",
        "right = place == 1",
        "test_classification.py::test_accuracy_and_its_interval_by_hand",
    ),
]
