"""What is not the product: further case studies, benchmarks, and the programs that draw pictures for the documents."""
