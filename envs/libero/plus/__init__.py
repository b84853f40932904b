"""LIBERO-plus: LIBERO's four suites under perturbed cameras, arms, sentences, images and layouts, beside plain LIBERO."""
