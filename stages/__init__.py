"""The stages of the pipeline, one module each, in the order in which they run.

generate_data        parameters -> simulated tables
convert_to_tensors   tables -> tensors
train_regression     tensors -> one weight
train_classifier     tensors -> a small network
evaluate             models -> metrics and figures
report               everything -> one page
"""
